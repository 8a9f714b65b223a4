// A certificate with its key, judged before use: whether Trustee can start with it, and clients will accept it. PURE
//
// Texts are PEM, as in a Secret of type kubernetes.io/tls. Nothing of a private key goes into a report; OpenSSL reads
// the key from the caller's memory and wipes what it decodes.
#ifndef COCO_COMMON_CERTIFICATE_H
#define COCO_COMMON_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/str.h"

#define CERTIFICATE_PEM_MAX ((size_t)1024 * 1024) // of each text; a Secret holds no more
#define CERTIFICATE_CHAIN_MAX 16                  // certificates in one text
#define CERTIFICATE_NAMES_MAX 64
#define CERTIFICATE_PROBLEMS_MAX 16
#define CERTIFICATE_SOON_DAYS 30

enum certificate_use {
	CERTIFICATE_SERVER,       // HTTPS of the key broker
	CERTIFICATE_TOKEN_SIGNER, // signs attestation tokens; the key broker trusts the roots in cert and in ca
};

struct certificate_input {
	const char *what; // what messages begin with, such as: spec.httpsSpec.tlsSecretName: Secret "kbs-tls"
	struct str cert;  // tls.crt: the certificate, then its issuers in order
	struct str key;   // tls.key, without a password
	struct str ca;    // ca.crt; p NULL where there is none
	enum certificate_use use;
	const char *const *hosts; // that a server's certificate must be good for: names or IP addresses
	size_t nhosts;
	bool hosts_may_differ; // clients may know others: one that it isn't good for is a warning
	int64_t now_s;         // since 1970
};

enum certificate_problem_code {
	CERTIFICATE_ABSENT,         // tls.crt or tls.key is missing, empty, or too large
	CERTIFICATE_UNREADABLE,     // no certificates in tls.crt, or too many
	CERTIFICATE_HAS_KEY,        // tls.crt, which is for everybody, has a private key in it
	CERTIFICATE_CA_UNREADABLE,  // the same for ca.crt
	CERTIFICATE_KEY_UNREADABLE, // no key in tls.key
	CERTIFICATE_KEY_ENCRYPTED,
	CERTIFICATE_KEY_MISMATCH, // the key is of another certificate
	CERTIFICATE_KEY_KIND,     // of a kind or size that Trustee or clients don't take
	CERTIFICATE_WEAK,         // signed with SHA-1 or MD5
	CERTIFICATE_ORDER,        // the key's certificate isn't the first, or one isn't followed by its issuer
	CERTIFICATE_CHAIN,        // doesn't lead to a root, or to ca.crt
	CERTIFICATE_EXPIRED,
	CERTIFICATE_NOT_YET_VALID,
	CERTIFICATE_EXPIRES_SOON, // a warning: within CERTIFICATE_SOON_DAYS
	CERTIFICATE_HOST,         // isn't good for one of hosts
	CERTIFICATE_PURPOSE,      // isn't for servers
	CERTIFICATE_IS_CA,        // a warning: rustls, which guests use, takes no CA's certificate for a server's
	CERTIFICATE_NO_ISSUER,    // a warning: clients that don't know the issuer can't accept it
	CERTIFICATE_SELF_SIGNED,  // a note: clients must be given this very certificate
};

// "Expired" and so on, in the enum's order: a reason for a condition. Ends in NULL.
extern const char *const certificate_problem_names[];

enum certificate_level { CERTIFICATE_ERROR, CERTIFICATE_WARNING, CERTIFICATE_NOTE };

struct certificate_problem {
	enum certificate_problem_code code;
	enum certificate_level level;
	char text[ERROR_MSG_MAX]; // names the thing, the value and the remedy
};

struct certificate_report {
	// When all certificates of tls.crt are valid, in seconds since 1970; 0 where it can't be read.
	int64_t not_before_s, not_after_s;
	bool is_p256;                       // the key is on the curve P-256
	bool is_self_signed;                // the first certificate
	char *names[CERTIFICATE_NAMES_MAX]; // new; DNS names and IP addresses that the first certificate is good for
	size_t nnames;
	struct certificate_problem problems[CERTIFICATE_PROBLEMS_MAX]; // errors first; more than fit are left out
	size_t nproblems;
};

// Never fails: what is wrong is in the report. Any earlier content of ret is overwritten, not released.
void certificate_check(const struct certificate_input *in, struct certificate_report *ret) __attribute__((nonnull));
void certificate_report_release(struct certificate_report *r) __attribute__((nonnull));
#define CLEANUP_CERTIFICATE_REPORT CLEANUP(certificate_report_release)

// The next moment, in seconds since 1970, when time alone changes what is to be said of it; 0: never.
int64_t certificate_look_again_s(const struct certificate_report *r, int64_t now_s)
	__attribute__((warn_unused_result, nonnull));

// Without an error, warnings or not.
static inline bool certificate_usable(const struct certificate_report *r)
{
	return r->nproblems == 0 || r->problems[0].level != CERTIFICATE_ERROR;
}

#endif
