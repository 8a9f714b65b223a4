// A private key in PEM, where nobody can be asked for its password. PURE
#ifndef COCO_COMMON_PEM_KEY_H
#define COCO_COMMON_PEM_KEY_H

#include <openssl/evp.h>
#include <stdbool.h>

// New; NULL where it can't be read, which OpenSSL's error queue then tells of, or (*ret_encrypted) would want a password.
EVP_PKEY *pem_key_read(BIO *in, bool *ret_encrypted) __attribute__((warn_unused_result, nonnull));

#endif
