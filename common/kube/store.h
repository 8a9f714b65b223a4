// The objects of one kind, as last heard of: immutable, shared by reference, found by key, owner or label. Thread-safe.
#ifndef COCO_COMMON_KUBE_STORE_H
#define COCO_COMMON_KUBE_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct kube_store;

// Values under which an index finds an object: calls emit(emit_ctx, value) for each.
typedef void (*kube_index_fn)(const json_t *object, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx);

struct kube_index {
	const char *name; // static
	kube_index_fn values;
};

// By uid of each owner.
void kube_index_owners(const json_t *object, void (*emit)(void *emit_ctx, const char *value), void *emit_ctx);

// indexes: static, n of them; NULL with 0 for none.
struct kube_store *kube_store_new(const struct kube_index *indexes, size_t n)
	__attribute__((warn_unused_result, returns_nonnull));
void kube_store_free(struct kube_store *s); // NULL is fine

// Puts an object in place of the one of its key; takes it, and nobody may change it from then on. Returns the old one
// (new reference), NULL where there was none.
json_t *kube_store_put(struct kube_store *s, json_t *object) __attribute__((nonnull));
// Returns what was removed (new reference), or NULL.
json_t *kube_store_remove(struct kube_store *s, const char *key) __attribute__((nonnull));

// New reference, NULL where there is none.
json_t *kube_store_get(struct kube_store *s, const char *ns, const char *name)
	__attribute__((warn_unused_result, nonnull(1, 3)));
// A new array of references to all objects, sorted by key: a snapshot.
json_t *kube_store_list(struct kube_store *s) __attribute__((warn_unused_result, nonnull));
// Those that the index has under the value, the same way.
json_t *kube_store_by_index(struct kube_store *s, const char *index, const char *value)
	__attribute__((warn_unused_result, nonnull));
// A new array of the keys, sorted.
json_t *kube_store_keys(struct kube_store *s) __attribute__((warn_unused_result, nonnull));
size_t kube_store_size(struct kube_store *s) __attribute__((nonnull));

#endif
