"""What gmssl makes and reads of SM2, SM3 and SM4. Takes one JSON object, prints one.

{"public": 128 hex digits, "private": 64, "plain": text, "ours": {"1": hex, "0": hex},
 "key": 32 hex digits, "start": 32 hex digits}: `ours` are ciphertexts without their 04, by gmssl's
mode, 1 for C1C3C2 and 0 for C1C2C3.
"""

import json
import sys

from gmssl import sm2, sm3, sm4


def crypt(task: dict, mode: int) -> sm2.CryptSM2:
    made = sm2.CryptSM2(private_key=task["private"], public_key=task["public"], mode=mode)
    # The constructor strips every 0 and 4 from the left of a key that begins with 04.
    made.public_key = task["public"]
    return made


def main(task: dict) -> dict:
    plain = task["plain"].encode()
    key, start = bytes.fromhex(task["key"]), bytes.fromhex(task["start"])
    block = sm4.CryptSM4()
    block.set_key(key, sm4.SM4_ENCRYPT)
    return {
        "sm2": {mode: crypt(task, int(mode)).encrypt(plain).hex() for mode in "10"},
        "opened": {
            mode: crypt(task, int(mode)).decrypt(bytes.fromhex(text)).decode()
            for mode, text in task["ours"].items()
        },
        "sm3": sm3.sm3_hash(list(plain)),
        "ecb": block.crypt_ecb(plain).hex(),
        "cbc": block.crypt_cbc(start, plain).hex(),
    }


print(json.dumps(main(json.loads(sys.argv[1]))))
