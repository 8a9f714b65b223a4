// Informers: one list and watch for a kind of objects, kept in a store, told to a handler.
//
// Two threads serve all informers of a set: the watcher's, which reads streams, and one that lists, so that a slow list
// holds up no event. An informer goes on for as long as it lives, whatever the API server does: resumes where a stream
// broke, lists again (in pages) where its version has expired (410 in the handshake or in the stream), backs off with
// jitter while requests fail. Where the server has it (sendInitialEvents, Kubernetes 1.32 on) the first list comes as
// a stream. resourceVersions are opaque, and never compared.
//
// A list after the first is compared with the store, so that each object that was added, changed or deleted meanwhile
// is told once, and one that is the same (by resourceVersion) not at all.
#ifndef COCO_COMMON_KUBE_INFORMER_H
#define COCO_COMMON_KUBE_INFORMER_H

#include <jansson.h>
#include <stdbool.h>

#include "common/kube/client.h"
#include "common/kube/store.h"
#include "common/kube/watch.h"

struct kube_informers; // the set
struct kube_informer;

struct kube_informer_config {
	const struct kube_resource *resource; // borrowed for its life
	const char *ns;                       // NULL: all
	struct kube_selector selector;        // strings are copied
	// Shortens an object before it is stored: returns it changed in place, or another (takes object). metadata.managedFields
	// is gone already. NULL: nothing more to do.
	json_t *(*trim)(json_t *object);
	const struct kube_index *indexes; // static
	size_t nindexes;
	// An object came (old NULL), changed, or went (new NULL). Called on one of the set's threads, in the order of what
	// happened to that object, without locks, after the store has it. Quick: it notes a key. NULL for none.
	void (*changed)(void *ctx, const char *key, const json_t *old_object, const json_t *new_object);
	void (*synced)(void *ctx); // once, when the first list is in the store; NULL for none
	void *ctx;
};

// Where informers tell what goes wrong and right again: at most once a minute for the same cause of the same informer.
// what: the request; http: the status, 0 for none; message says what happened; next_ms: when it is tried again.
typedef void (*kube_trouble_fn)(void *ctx, const char *what, int http, const char *message, int64_t next_ms);

struct kube_informers_config {
	struct kube_client *client; // for lists
	struct kube_watcher *watcher;
	const struct clock *clock;
	kube_trouble_fn trouble;
	void *trouble_ctx;
	// For tests; 0 keeps a default.
	int page;                             // KUBE_PAGE
	int backoff_first_ms, backoff_max_ms; // 800, 30000
	int watch_min_s, watch_max_s;         // 300, 600: how long one watch request asks to live
};

// Starts the lister thread. All in config is borrowed for its life.
struct kube_informers *kube_informers_start(const struct kube_informers_config *config)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Ends all informers: no handler is called once this has returned. Before the watcher's stop. NULL is fine.
void kube_informers_stop(struct kube_informers *s);

// From any thread, handlers included.
struct kube_informer *kube_informer_add(struct kube_informers *s, const struct kube_informer_config *config)
	__attribute__((returns_nonnull, nonnull));
// No handler of it is called any more, and the store is gone. Not from one of its own handlers.
void kube_informer_remove(struct kube_informer *i) __attribute__((nonnull));

bool kube_informer_synced(struct kube_informer *i) __attribute__((nonnull));
struct kube_store *kube_informer_store(struct kube_informer *i) __attribute__((nonnull, returns_nonnull));

// For metrics and tests.
struct kube_informer_stats {
	unsigned long lists, watches, events, bookmarks, expired, failures;
};
void kube_informer_stats(struct kube_informer *i, struct kube_informer_stats *ret) __attribute__((nonnull));
// Whether it speaks with the API server now: a stream is open.
bool kube_informer_live(struct kube_informer *i) __attribute__((nonnull));

#endif
