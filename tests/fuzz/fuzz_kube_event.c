// Bytes as an event of a watch: no crash; what is told apart has what is promised; what is stored of an object has no
// managedFields, and of one whose metadata alone is wanted nothing else; no control characters in messages.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/reflector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct kube_resource MAPS = {"", "v1", "configmaps", "ConfigMap", true};

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

static void check_stored(struct kube_event *e, bool metadata_only)
{
	json_t *object = kube_object_prepare(e->object, &MAPS, metadata_only);
	e->object = NULL;
	must(json_object_get(json_object_get(object, "metadata"), "managedFields") == NULL, "stored", "managedFields");
	must(kube_name(object)[0] != '\0' && kube_resource_version(object)[0] != '\0', "stored", "name, version");
	if (metadata_only) {
		const char *key;
		json_t *value;
		json_object_foreach (object, key, value)
			must(strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 || strcmp(key, "metadata") == 0, "stored",
				 key);
	}
	json_decref(object);
}

static void check_event(struct kube_event *e, bool metadata_only, const struct error *err)
{
	bool told = err->code != 0;
	switch (e->kind) {
	case KUBE_EVENT_PUT:
	case KUBE_EVENT_DELETED:
		must(!told, "message", err->msg);
		check_stored(e, metadata_only);
		return;
	case KUBE_EVENT_BOOKMARK:
		must(!told && kube_resource_version(e->object)[0] != '\0', "bookmark", err->msg);
		return;
	case KUBE_EVENT_ERROR:
		must(told && e->status.http >= 400 && e->status.http <= 599, "status", err->msg);
		must(e->status.retry_after_s >= 0, "wait", err->msg);
		return;
	case KUBE_EVENT_ODD:
	case KUBE_EVENT_GARBAGE:
		must(told, "message", "none");
		return;
	}
	must(false, "kind", err->msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	// 'm': metadata only. Readable, so that a corpus is.
	bool metadata_only = n > 0 && data[0] == 'm';
	struct str text = {(const char *)data + (metadata_only ? 1 : 0), n - (metadata_only ? 1 : 0)};
	CLEANUP_KUBE_EVENT
	struct kube_event e;
	struct error err = {0};
	kube_event_read(text, &MAPS, metadata_only, "WATCH /x", &e, &err);
	check_event(&e, metadata_only, &err);
	for (const char *p = err.msg; *p != '\0'; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7F, "control character", err.msg);
	return 0;
}
