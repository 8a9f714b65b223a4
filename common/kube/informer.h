// Informers: one list and watch for a kind of objects, kept in a store, told to a handler.
//
// Two threads serve all informers of a set: the watcher's, which reads streams, and one that lists, so that a slow list
// holds up no event. An informer goes on for as long as it lives, whatever the API server does: resumes where a stream
// broke, lists again (in pages) where its version has expired (410 in the handshake or in the stream), backs off with
// jitter while requests fail. Where the server has it (sendInitialEvents, Kubernetes 1.32 on) the first list comes as
// a stream. resourceVersions are opaque, and never compared.
//
// A list after the first is compared with the store, so that each object that was added, changed or deleted meanwhile
// is told once, and one that is the same (by resourceVersion) not at all. One that was deleted and made anew meanwhile is
// told as changed. What is in the store stays there until the API server says that it is gone: through an outage, a
// permission that was taken away, and a 404 for the kind itself, which a server that is starting gives as well.
//
// What the rules are is in reflector.h.
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
	const struct kube_resource *resource; // copied
	const char *ns;                       // NULL: all
	// Strings are copied. metadata_only: whatever a server sends, nothing but apiVersion, kind (the resource's) and
	// metadata is stored. page: see kube_informers_config.
	struct kube_selector selector;
	// Shortens an object before it is stored: returns it changed in place, or another (takes object). metadata.managedFields
	// is gone already; name, namespace and resourceVersion must stay. NULL: nothing more to do.
	json_t *(*trim)(json_t *object);
	const struct kube_index *indexes; // static
	size_t nindexes;
	// An object came (old NULL), changed, or went (new NULL). Called on one of the set's threads, in the order of what
	// happened to that object, without locks, after the store has it. Quick: it notes a key. NULL for none.
	void (*changed)(void *ctx, const char *key, const json_t *old_object, const json_t *new_object);
	// A list is in the store, the first one or a later one, and told. It was begun at began_ms (monotonic), and is no older:
	// what happened until then and isn't in it was undone meanwhile, which nothing else tells. NULL for none.
	void (*listed)(void *ctx, int64_t began_ms);
	void (*synced)(void *ctx); // once, when the first list is in the store; NULL for none
	void *ctx;
};

// Where informers tell what goes wrong and right again, on one of the set's threads, without locks. What goes wrong is
// told at most once a minute for the same cause (list or watch, and status) of the same informer. A stream that ends
// after a while, and a version that has expired once, are in order and not told.
// what: the request, such as "WATCH /api/v1/pods". http: the status that refused it; 0 where there was none, message says
// what happened. next_ms: when it is tried again; -1: an object or event that can't be used was passed over.
// Once a stream is open again after trouble was told, that is told once: http 200, message "works again", next_ms 0.
typedef void (*kube_trouble_fn)(void *ctx, const char *what, int http, const char *message, int64_t next_ms);

struct kube_informers_config {
	struct kube_client *client; // for lists
	struct kube_watcher *watcher;
	const struct clock *clock;
	kube_trouble_fn trouble; // NULL for none
	void *trouble_ctx;
	// For tests; 0 keeps a default.
	int page;                             // KUBE_PAGE
	int backoff_first_ms, backoff_max_ms; // 800, 30000
	int watch_min_s, watch_max_s;         // 300, 600: how long one watch request asks to live
};

// Starts the lister thread. All in config is borrowed for its life.
struct kube_informers *kube_informers_start(const struct kube_informers_config *config)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Ends and frees all informers: no handler is called once this has returned. Waits for handlers and for a list's request
// that is under way: set the client's stop flag first. Before the watcher's stop, which frees the last of it. Not from a
// handler. NULL is fine.
void kube_informers_stop(struct kube_informers *s);

// From any thread, handlers included.
struct kube_informer *kube_informer_add(struct kube_informers *s, const struct kube_informer_config *config)
	__attribute__((returns_nonnull, nonnull));
// No handler of it is called any more, and the store is gone. Waits for a handler that runs, but for no request. Not from
// one of its own handlers; two informers whose handlers remove each other may wait for ever.
void kube_informer_remove(struct kube_informer *i) __attribute__((nonnull));

bool kube_informer_synced(struct kube_informer *i) __attribute__((nonnull));
struct kube_store *kube_informer_store(struct kube_informer *i) __attribute__((nonnull, returns_nonnull));

// For metrics and tests.
struct kube_informer_stats {
	unsigned long lists;   // begun
	unsigned long watches; // streams asked for
	unsigned long events;  // about objects
	unsigned long bookmarks;
	unsigned long expired;  // versions, of a watch or of a list midway
	unsigned long failures; // steps that had to wait before the next try
};
void kube_informer_stats(struct kube_informer *i, struct kube_informer_stats *ret) __attribute__((nonnull));
// Whether it speaks with the API server now: a stream is open.
bool kube_informer_live(struct kube_informer *i) __attribute__((nonnull));

#endif
