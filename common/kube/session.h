// All that a program needs to follow a cluster, opened and closed as one: configuration, credentials, a client for
// requests, and, for servers, the watcher with its informers.
//
// Logging: this is a shell. It logs trouble with the API server (at most once a minute for the same cause), and, once,
// that its certificate isn't verified where the kubeconfig says so.
#ifndef COCO_COMMON_KUBE_SESSION_H
#define COCO_COMMON_KUBE_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/kube/informer.h"
#include "common/told.h"

struct kube_session {
	struct kube_config *config;
	struct kube_auth *auth;
	struct kube_client *client;
	struct kube_watcher *watcher;
	struct kube_informers *informers;
	char *user_agent;
	struct told told;        // of outages
	atomic_bool outage_told; // and not yet that it is over
	atomic_bool stop;        // set by kube_session_stop(): requests end
};

// kubeconfig: a file; NULL for what kube_config_load() finds by itself. program: for the user agent. follows: start
// watcher and informers. Connects to nothing yet. *s lives at its place until the close.
int kube_session_open(struct kube_session *s, const char *kubeconfig, const char *context, const char *program,
					  bool follows, struct error *err) __attribute__((warn_unused_result, nonnull(1, 4, 6)));
// Requests under way, and later ones, end with ECANCELED. Before threads that make them are waited for.
void kube_session_stop(struct kube_session *s) __attribute__((nonnull));
// Also of one that is all zero, or whose opening failed.
void kube_session_close(struct kube_session *s) __attribute__((nonnull));

#endif
