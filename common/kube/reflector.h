// What an informer does next: reads one event of a watch, compares a list with what was known, and decides after each
// step whether to list or to watch, and when. Knows no thread, no socket and no clock. PURE
//
// A reflector goes round: list (in pages, or as the first events of a stream), watch from the version that the list had,
// watch again from the last version heard of when the stream ends, list again when that version is refused.
#ifndef COCO_COMMON_KUBE_REFLECTOR_H
#define COCO_COMMON_KUBE_REFLECTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/kube/backoff.h"
#include "common/kube/resource.h"
#include "common/kube/status.h"
#include "common/str.h"

// ---- Events

enum kube_event_kind {
	KUBE_EVENT_PUT, // added or changed: the object as it is
	KUBE_EVENT_DELETED,
	KUBE_EVENT_BOOKMARK, // only the version
	KUBE_EVENT_ERROR,    // the stream is at its end; status and err say why
	KUBE_EVENT_ODD, // of an unknown type, or about another kind, or without a name: err says what; to be passed over
	KUBE_EVENT_GARBAGE, // no event at all: err says why; what else was missed is unknown
};

struct kube_event {
	enum kube_event_kind kind;
	json_t *object;            // new; with name and resourceVersion for PUT and DELETED, with the latter for BOOKMARK
	bool initial_end;          // BOOKMARK: the objects that there were have all been sent
	struct kube_status status; // ERROR
};

// request: for messages, such as "WATCH /api/v1/pods". metadata_only: the object may be a PartialObjectMetadata.
// err is filled for ERROR, ODD and GARBAGE.
void kube_event_read(struct str text, const struct kube_resource *res, bool metadata_only, const char *request,
					 struct kube_event *ret, struct error *err) __attribute__((nonnull));
void kube_event_release(struct kube_event *e) __attribute__((nonnull));
#define CLEANUP_KUBE_EVENT CLEANUP(kube_event_release)

// Whether an object is of the resource's kind, and has a name and a resourceVersion.
int kube_object_check(const json_t *object, const struct kube_resource *res, bool metadata_only, struct error *err)
	__attribute__((warn_unused_result, nonnull(2, 4)));
// An object as it is stored; takes it, and returns it changed or another (new): without metadata.managedFields, with
// metadata_only nothing but apiVersion, kind and metadata, the former two those of the resource, so that neither a
// server that sends more nor one that calls it PartialObjectMetadata makes a difference.
json_t *kube_object_prepare(json_t *object, const struct kube_resource *res, bool metadata_only)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

// ---- Steps

#define REFLECTOR_BACKOFF_FIRST_MS 800
#define REFLECTOR_BACKOFF_MAX_MS 30000
// While nobody answers, asking costs nobody much, and everyone waits for the first one who does. What is refused backs off
// anew after that: an API server that starts refuses for a moment what it doesn't know yet.
#define REFLECTOR_OUTAGE_MAX_MS 2000
// A stream that lived for this many times the first wait was a good one: what it ends with starts the count anew.
#define REFLECTOR_LIVED 10
// So many failures (5xx) in a row of a watch from the same version, and the version is given up.
#define REFLECTOR_WATCH_TRIES 3
// A server may ask for a longer wait (Retry-After), up to this.
#define REFLECTOR_RETRY_AFTER_MAX_S 60

enum reflector_step { REFLECTOR_LIST, REFLECTOR_WATCH };

struct reflector_next {
	enum reflector_step step;
	int64_t delay_ms;
	bool refused_stream; // the server won't send a list as a stream: ask for none again
};

struct reflector {
	char *resource_version;  // to watch from; NULL: list first
	json_t *unseen;          // keys known before that the list under way hasn't brought yet; NULL: no list is under way
	bool streaming;          // the list under way comes as a stream
	bool expired;            // a version has, since the last stream that lived
	unsigned failed_watches; // of this version, in a row
	struct backoff backoff;  // of what is refused
	struct backoff outage;   // of what isn't reached
};

// first_ms, max_ms: of the back-off; 0 keeps a default. An outage's waits are at most REFLECTOR_OUTAGE_MAX_MS.
void reflector_init(struct reflector *r, int64_t first_ms, int64_t max_ms, uint64_t seed) __attribute__((nonnull));
void reflector_release(struct reflector *r) __attribute__((nonnull));

// A list begins, or starts over. known: an array of the keys in the store; NULL for none.
void reflector_list_begin(struct reflector *r, const json_t *known, bool streaming) __attribute__((nonnull(1)));
// The API server told of an object, in a list or an event, which before was known in the version `known` (NULL: not at
// all). true where that is news.
bool reflector_seen(struct reflector *r, const char *key, const char *known, const char *resource_version)
	__attribute__((nonnull(1, 2, 4)));
// The list is complete at resource_version. A new array of the keys that are gone.
json_t *reflector_list_end(struct reflector *r, const char *resource_version)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));
// An event was dealt with: where to resume.
void reflector_advance(struct reflector *r, const char *resource_version) __attribute__((nonnull));

// unreached: no answer came.
struct reflector_next reflector_list_failed(struct reflector *r, bool unreached) __attribute__((nonnull));
// The stream is over, or was refused. http: as kube_stream_handler's ended(), or the code of an ERROR event. lived_ms:
// since it was opened; 0 where it never was.
struct reflector_next reflector_stream_ended(struct reflector *r, const struct kube_status *status, int64_t lived_ms)
	__attribute__((nonnull));
// An event was garbage, or a streamed list is none: the stream is given up.
struct reflector_next reflector_stream_garbled(struct reflector *r) __attribute__((nonnull));

// ---- Troubles: which to tell

#define REFLECTOR_TROUBLE_MS 60000
#define REFLECTOR_CAUSES_MAX 8

struct reflector_troubles {
	struct {
		enum reflector_step step;
		int code;
		int64_t told_ms;
	} v[REFLECTOR_CAUSES_MAX]; // the one told longest ago makes room
	size_t n;
	bool failing; // it was told that steps fail, and not yet that they work again
};

// Whether to tell of it now: not within REFLECTOR_TROUBLE_MS of the same cause. code: an errno or status. failed: of a
// step, rather than something odd that was passed over.
bool reflector_trouble_due(struct reflector_troubles *t, enum reflector_step step, int code, bool failed,
						   int64_t now_ms) __attribute__((nonnull));
// It works: whether to tell, which is so once after a trouble was told.
bool reflector_recovered(struct reflector_troubles *t) __attribute__((nonnull));

#endif
