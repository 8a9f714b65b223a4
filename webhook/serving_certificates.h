// Keeps the webhook in certificates: follows the Secret and the webhook configurations, takes the steps of serving_plan.h
// and hands out the pair to serve with. One thread; any number of replicas do the same side by side.
//
// What is written is decided on the Secret as it was read just before, and goes in only where nobody wrote meanwhile
// (resourceVersion): of several replicas one makes a certificate, and the others take it up. What can't be read or
// written is tried again with back-off; what is served stays served. Keys stay in memory, and are wiped after use.
//
// Logging: this is a shell. It logs each step, and trouble, the same at most once a minute.
#ifndef COCO_WEBHOOK_SERVING_CERTIFICATES_H
#define COCO_WEBHOOK_SERVING_CERTIFICATES_H

#include "common/kube/informer.h"
#include "webhook/serving_plan.h"

#define SERVING_FIELD_MANAGER "coco-webhook-certificates"

struct serving_certificates;

struct serving_certificates_config {
	struct serving_names names; // texts are borrowed
	int64_t life_s;             // of the certificates that are made here
	struct kube_client *client;
	struct kube_informers *informers;
	const struct clock *clock;
	// Serves with this pair from now on. On the thread of this; the texts are wiped afterwards.
	int (*serve)(void *ctx, struct str cert, struct str key, int64_t not_after_s, struct error *err);
	void *ctx;
};

// All in config is borrowed for its life.
struct serving_certificates *serving_certificates_start(const struct serving_certificates_config *config)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Waits for a request that is under way: set the client's stop flag first. Before the informers' stop. NULL is fine.
void serving_certificates_stop(struct serving_certificates *s);

// Why this replica isn't ready, as a text that lives as long as s; NULL: it is. From any thread.
const char *serving_certificates_waits_for(struct serving_certificates *s) __attribute__((nonnull));

// Once, at start. coco_webhook_certificate_trusted, coco_webhook_certificate_writes_total{object,result}.
void serving_certificates_register_metrics(void);

#endif
