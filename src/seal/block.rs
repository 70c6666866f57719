//! Block ciphers over whole texts, padded to full blocks (PKCS #7, RFC 5652, 6.3; Java calls the
//! same PKCS5Padding).

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InvalidLength,
    KeyInit, KeyIvInit,
};

/// Bytes of a block, for AES as for SM4.
pub const BLOCK_BYTES: usize = 16;

/// Each block by itself (ECB). Fails when the key has not the cipher's length.
pub fn ecb_encrypt<C: BlockCipherEncrypt + KeyInit>(
    key: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, InvalidLength> {
    Ok(ecb::Encryptor::<C>::new_from_slice(key)?.encrypt_padded_vec::<Pkcs7>(plain))
}

/// `None` for whatever [`ecb_encrypt`] did not make.
pub fn ecb_decrypt<C: BlockCipherDecrypt + KeyInit>(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    ecb::Decryptor::<C>::new_from_slice(key).ok()?.decrypt_padded_vec::<Pkcs7>(sealed).ok()
}

/// Each block chained to the one before (CBC). Fails when key or start have not their lengths.
pub fn cbc_encrypt<C: BlockCipherEncrypt + KeyInit>(
    key: &[u8],
    start: &[u8; BLOCK_BYTES],
    plain: &[u8],
) -> Result<Vec<u8>, InvalidLength> {
    Ok(cbc::Encryptor::<C>::new_from_slices(key, start)?.encrypt_padded_vec::<Pkcs7>(plain))
}

/// `None` for whatever [`cbc_encrypt`] did not make.
pub fn cbc_decrypt<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    start: &[u8; BLOCK_BYTES],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, start).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(sealed).ok()
}
