"""SM2: identity numbers opened on one core, against OpenSSL's EVP_PKEY_decrypt.

Both open ciphertexts of one number of 18 characters under one key, on one thread, each in a process
of its own that is bound to the same core. OpenSSL gets the bytes of DER, its only form, by ctypes
from Python: a call costs a microsecond, a decryption hundreds. Forepost gets text, in the form that
its sender is remembered by.
"""

import ctypes
import ctypes.util
import json
import multiprocessing
import os
import subprocess
import time

from peers import fresh, take

NUMBER = "110199198003074013"
CORE = max(os.sched_getaffinity(0))


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=given, check=True,
                          stdout=subprocess.PIPE).stdout


def c1c3c2(der):
    """DER of x, y, C3, C2 as 04 C1 C3 C2; the lengths of a short text take one byte each."""
    fields, at = [], 2
    while at < len(der):
        length = der[at + 1]
        fields.append(der[at + 2:at + 2 + length])
        at += 2 + length
    x, y, c3, c2 = fields
    return b"\x04" + x[-32:].rjust(32, b"\0") + y[-32:].rjust(32, b"\0") + c3 + c2


def ours(options, key, text, seconds):
    def measure():
        told = take([options.decrypt, str(key), text, str(seconds)],
                    preexec_fn=lambda: os.sched_setaffinity(0, {CORE}))
        result = json.loads(told.splitlines()[-1])
        return result["opened"] / result["seconds"]

    return measure


def libcrypto():
    library = ctypes.CDLL(ctypes.util.find_library("crypto"))
    pointer, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    for name, result, parameters in [
        ("BIO_new_mem_buf", pointer, [ctypes.c_char_p, ctypes.c_int]),
        ("PEM_read_bio_PrivateKey", pointer, [pointer] * 4),
        ("EVP_PKEY_CTX_new", pointer, [pointer, pointer]),
        ("EVP_PKEY_decrypt_init", ctypes.c_int, [pointer]),
        ("EVP_PKEY_decrypt", ctypes.c_int,
         [pointer, ctypes.c_char_p, size, ctypes.c_char_p, ctypes.c_size_t]),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library


def decrypt(pem, der, seconds, told):
    """Opens `der` for so long and sends how many a second it were; runs in its own process."""
    os.sched_setaffinity(0, {CORE})
    library = libcrypto()
    source = library.BIO_new_mem_buf(pem, len(pem))
    key = library.PEM_read_bio_PrivateKey(source, None, None, None)
    context = library.EVP_PKEY_CTX_new(key, None)
    assert context and library.EVP_PKEY_decrypt_init(context) == 1
    plain, opened = ctypes.create_string_buffer(512), 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        length = ctypes.c_size_t(len(plain))
        done = library.EVP_PKEY_decrypt(context, plain, ctypes.byref(length), der, len(der))
        assert done == 1 and plain.raw[:length.value] == NUMBER.encode()
        opened += 1
    told.send(opened / (time.perf_counter() - began))


def theirs(pem, der, seconds):
    def measure():
        reader, writer = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=decrypt, args=(pem, der, seconds, writer))
        process.start()
        # Or the end of a process that failed would never be seen here.
        writer.close()
        try:
            return reader.recv()
        finally:
            process.join()

    return measure


def run(rows, options):
    folder = fresh("sm2")
    seconds = 1 if options.pairs < 5 else 4
    pem = openssl("genpkey", "-algorithm", "SM2")
    key, public = folder / "key.pem", folder / "public.pem"
    key.write_bytes(pem)
    public.write_bytes(openssl("pkey", "-pubout", given=pem))
    der = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", public, given=NUMBER.encode())
    version = openssl("version").decode().split()[1]
    for name, text in [("DER", der.hex()), ("C1C3C2 with 04", c1c3c2(der).hex())]:
        rows.compare(f"identity numbers under SM2 opened on one core, {name} in hexadecimal", "/s",
                     f"OpenSSL {version}, DER", options.pairs,
                     ours(options, key, text, seconds), theirs(pem, der, seconds), 0.85)
