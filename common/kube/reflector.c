#include "common/kube/reflector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/kube/answer.h"
#include "common/mem.h"

#define API_VERSION_MAX ((size_t)512)

// ---- Events

// Why an object can't be used; NULL where it can.
static const char *find_fault(const json_t *object, const struct kube_resource *res, bool metadata_only)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	if (kind == NULL)
		return "it has no kind";
	if (strcmp(kind, res->kind) != 0 && !(metadata_only && strcmp(kind, "PartialObjectMetadata") == 0))
		return "it is of another kind";
	if (kube_name(object)[0] == '\0')
		return "its metadata.name is missing";
	if (kube_resource_version(object)[0] == '\0')
		return "its metadata.resourceVersion is missing";
	return NULL;
}

int kube_object_check(const json_t *object, const struct kube_resource *res, bool metadata_only, struct error *err)
{
	const char *fault = find_fault(object, res, metadata_only);
	if (fault == NULL)
		return 0;
	const char *kind = json_string_value(json_object_get(object, "kind"));
	return error_set(err, EBADMSG,
					 "an object can't be used: %s (kind \"%.64s\" for %s, namespace \"%.64s\", name \"%s\")", fault,
					 kind != NULL ? kind : "", res->kind, kube_namespace(object), kube_name(object));
}

static enum kube_event_kind read_bookmark(struct kube_event *e, struct error *err)
{
	if (kube_resource_version(e->object)[0] == '\0') {
		(void)error_set(err, EBADMSG, "a bookmark without metadata.resourceVersion");
		return KUBE_EVENT_ODD;
	}
	const char *end = kube_annotation(e->object, "k8s.io/initial-events-end");
	e->initial_end = end != NULL && strcmp(end, "true") == 0;
	return KUBE_EVENT_BOOKMARK;
}

static enum kube_event_kind read_error(struct kube_event *e, const char *request, struct error *err)
{
	json_int_t code = json_integer_value(json_object_get(e->object, "code"));
	// A Status without a code that makes sense is the server's fault.
	int http = code >= 400 && code <= 599 ? (int)code : 500;
	(void)kube_status_read(http, e->object, request, &e->status, err);
	if (err->code == ESTALE)
		e->status.http = 410;
	return KUBE_EVENT_ERROR;
}

static enum kube_event_kind read_event(const json_t *root, const struct kube_resource *res, bool metadata_only,
									   const char *request, struct kube_event *e, struct error *err)
{
	const char *type = json_string_value(json_object_get(root, "type"));
	e->object = json_incref(json_object_get(root, "object"));
	if (type == NULL || !json_is_object(e->object)) {
		(void)error_set(err, EBADMSG, "what came is no event: it lacks type or object");
		return KUBE_EVENT_GARBAGE;
	}
	bool put = strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0;
	if (put || strcmp(type, "DELETED") == 0) {
		if (kube_object_check(e->object, res, metadata_only, err) < 0)
			return KUBE_EVENT_ODD;
		return put ? KUBE_EVENT_PUT : KUBE_EVENT_DELETED;
	}
	if (strcmp(type, "BOOKMARK") == 0)
		return read_bookmark(e, err);
	if (strcmp(type, "ERROR") == 0)
		return read_error(e, request, err);
	(void)error_set(err, EBADMSG, "an event is of the unknown type \"%.64s\"", type);
	return KUBE_EVENT_ODD;
}

void kube_event_read(struct str text, const struct kube_resource *res, bool metadata_only, const char *request,
					 struct kube_event *ret, struct error *err)
{
	*ret = (struct kube_event){.kind = KUBE_EVENT_GARBAGE};
	json_t *root = kube_answer_read(text, err);
	if (root != NULL)
		ret->kind = read_event(root, res, metadata_only, request, ret, err);
	json_decref(root);
	if (ret->kind == KUBE_EVENT_GARBAGE || ret->kind == KUBE_EVENT_ODD)
		(void)error_prefix(err, "%s", request);
}

void kube_event_release(struct kube_event *e)
{
	json_decref(e->object);
	e->object = NULL;
}

static void set_field(json_t *object, const char *key, json_t *value)
{
	// Out of memory: see common/mem.h. Names of groups, versions and kinds are ASCII.
	if (json_object_set_new(object, key, value) < 0)
		abort();
}

json_t *kube_object_prepare(json_t *object, const struct kube_resource *res, bool metadata_only)
{
	json_t *metadata = json_object_get(object, "metadata");
	(void)json_object_del(metadata, "managedFields");
	if (!metadata_only)
		return object;
	CLEANUP_BUF
	struct buf version = BUF_INIT(API_VERSION_MAX);
	kube_api_version(res, &version);
	json_t *less = json_object();
	set_field(less, "apiVersion", json_string(buf_z(&version)));
	set_field(less, "kind", json_string(res->kind));
	set_field(less, "metadata", metadata != NULL ? json_incref(metadata) : json_object());
	json_decref(object);
	return less;
}

// ---- Steps

void reflector_init(struct reflector *r, int64_t first_ms, int64_t max_ms, uint64_t seed)
{
	*r = (struct reflector){.backoff = {.first_ms = first_ms > 0 ? first_ms : REFLECTOR_BACKOFF_FIRST_MS,
										.max_ms = max_ms > 0 ? max_ms : REFLECTOR_BACKOFF_MAX_MS,
										.random = seed}};
	r->outage = r->backoff;
	if (r->outage.max_ms > REFLECTOR_OUTAGE_MAX_MS)
		r->outage.max_ms = REFLECTOR_OUTAGE_MAX_MS;
}

static int64_t wait_ms(struct reflector *r, bool unreached)
{
	backoff_reset(unreached ? &r->backoff : &r->outage);
	return backoff_next_ms(unreached ? &r->outage : &r->backoff);
}

static void list_drop(struct reflector *r)
{
	json_decref(r->unseen);
	r->unseen = NULL;
	r->streaming = false;
}

void reflector_release(struct reflector *r)
{
	list_drop(r);
	free(r->resource_version);
	r->resource_version = NULL;
}

void reflector_list_begin(struct reflector *r, const json_t *known, bool streaming)
{
	list_drop(r);
	r->streaming = streaming;
	r->unseen = json_object();
	for (size_t i = 0; i < json_array_size(known); i++)
		set_field(r->unseen, json_string_value(json_array_get(known, i)), json_true());
}

bool reflector_seen(struct reflector *r, const char *key, const char *known, const char *resource_version)
{
	if (r->unseen != NULL)
		(void)json_object_del(r->unseen, key);
	return known == NULL || strcmp(known, resource_version) != 0;
}

void reflector_advance(struct reflector *r, const char *resource_version)
{
	// A list that comes as a stream has no version before it is complete.
	if (r->streaming)
		return;
	free(r->resource_version);
	r->resource_version = xstrdup(resource_version);
	r->failed_watches = 0;
}

json_t *reflector_list_end(struct reflector *r, const char *resource_version)
{
	json_t *gone = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (r->unseen, key, value)
		if (json_array_append_new(gone, json_string(key)) < 0)
			abort();
	list_drop(r);
	reflector_advance(r, resource_version);
	return gone;
}

static struct reflector_next list_next(struct reflector *r, int64_t delay_ms)
{
	list_drop(r);
	free(r->resource_version);
	r->resource_version = NULL;
	r->failed_watches = 0;
	return (struct reflector_next){REFLECTOR_LIST, delay_ms, false};
}

struct reflector_next reflector_list_failed(struct reflector *r, bool unreached)
{
	return list_next(r, wait_ms(r, unreached));
}

struct reflector_next reflector_stream_garbled(struct reflector *r)
{
	return list_next(r, wait_ms(r, false));
}

// Whether what the server said is about the request, so that the same one won't do.
static bool refuses_version(struct reflector *r, int http)
{
	switch (http) {
	case 0:
	case 200:
	case 401:
	case 403:
	case 429:
		return false;
	default:
		// A server that fails for a while keeps the version; one that fails over this version only, doesn't.
		return http < 500 || ++r->failed_watches >= REFLECTOR_WATCH_TRIES;
	}
}

// 500 is what an API server says whose etcd is too old for it (3.4); in pages, the list comes all the same.
static bool refuses_streamed_list(int http)
{
	return http == 400 || http == 422 || http == 500;
}

struct reflector_next reflector_stream_ended(struct reflector *r, const struct kube_status *status, int64_t lived_ms)
{
	int http = status->http;
	bool lived = lived_ms >= r->backoff.first_ms * REFLECTOR_LIVED;
	if (lived) {
		backoff_reset(&r->backoff);
		backoff_reset(&r->outage);
		r->expired = false;
	}
	if (lived || (lived_ms > 0 && (http == 0 || http == 200)))
		r->failed_watches = 0; // the server took the version
	if (r->streaming && refuses_streamed_list(http)) {
		struct reflector_next next = list_next(r, 0);
		next.refused_stream = true;
		return next;
	}
	int64_t delay_ms = 0;
	if (!(lived && (http == 0 || http == 200)))
		delay_ms = wait_ms(r, http == 0 && lived_ms == 0);
	// An expired version is in order once, after an outage above all.
	if (http == 410 && !r->expired) {
		r->expired = true;
		delay_ms = 0;
	}
	int after_s =
		status->retry_after_s < REFLECTOR_RETRY_AFTER_MAX_S ? status->retry_after_s : REFLECTOR_RETRY_AFTER_MAX_S;
	if (http >= 400 && after_s > 0 && delay_ms < (int64_t)after_s * 1000)
		delay_ms = (int64_t)after_s * 1000;
	if (refuses_version(r, http) || r->resource_version == NULL)
		return list_next(r, delay_ms);
	return (struct reflector_next){REFLECTOR_WATCH, delay_ms, false};
}

// ---- Troubles

bool reflector_trouble_due(struct reflector_troubles *t, enum reflector_step step, int code, bool failed,
						   int64_t now_ms)
{
	size_t oldest = 0;
	size_t i = 0;
	for (; i < t->n; i++) {
		if (t->v[i].step == step && t->v[i].code == code)
			break;
		if (t->v[i].told_ms < t->v[oldest].told_ms)
			oldest = i;
	}
	if (i < t->n && now_ms - t->v[i].told_ms < REFLECTOR_TROUBLE_MS)
		return false;
	if (i == t->n)
		i = t->n < REFLECTOR_CAUSES_MAX ? t->n++ : oldest;
	t->v[i].step = step;
	t->v[i].code = code;
	t->v[i].told_ms = now_ms;
	t->failing = t->failing || failed;
	return true;
}

bool reflector_recovered(struct reflector_troubles *t)
{
	bool tell = t->failing;
	t->failing = false;
	return tell;
}
