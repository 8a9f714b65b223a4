#include "controller/pod_trouble.h"

#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/json_text.h"
#include "common/kube/resource.h"
#include "common/mem.h"
#include "controller/trustee_status.h"

#define FOREIGN_MAX 512 // bytes of what others tell that go into a message

// The worst first.
enum rank { RANK_IMAGE, RANK_CRASH, RANK_SCHEDULE, RANK_CREATE, RANK_CONFIG, RANK_START, RANK_PROBE, RANK_NONE };
static const char *const reasons[] = {
	"ImagePull", "CrashLoop", "Unschedulable", "FailedCreate", "Pending", "Pending", "NotRunning", NULL,
};

struct search {
	const struct pod_trouble_input *in;
	const json_t *pod;
	enum rank rank; // of the worst so far
	char *message;
};

// What somebody else wrote, as a part of a message: in the caller's room. The sentence that it ends goes on.
static const char *foreign(const char *text, char room[FOREIGN_MAX])
{
	(void)snprintf(room, FOREIGN_MAX, "%s", text);
	text_sanitize(room);
	size_t n = strlen(room);
	while (n > 0 && strchr(" .,;:", room[n - 1]) != NULL)
		room[--n] = '\0';
	return room;
}

// Takes message.
static void found(struct search *s, enum rank rank, char *message)
{
	// Of two that are as bad, the same one whatever their order.
	if (rank < s->rank || (rank == s->rank && strcmp(message, s->message) < 0)) {
		free(s->message);
		s->message = message;
		s->rank = rank;
	} else {
		free(message);
	}
}

// ---- Images

static bool is_about_image(const char *reason)
{
	static const char *const all[] = {"ErrImagePull",      "ImagePullBackOff",  "InvalidImageName",
									  "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(reason, all[i]) == 0)
			return true;
	return false;
}

static const char *image_of(const json_t *deployment, const char *container)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const json_t *pod = json_object_get(json_object_get(json_object_get(deployment, "spec"), "template"), "spec");
	for (size_t l = 0; l < 2; l++) {
		const json_t *list = json_object_get(pod, lists[l]);
		for (size_t i = 0; i < json_array_size(list); i++)
			if (json_text_is(json_array_get(list, i), "name", container))
				return json_text(json_array_get(list, i), "image");
	}
	return "";
}

// A message of before that begins like that; NULL where there is none. Borrowed.
static const char *told_before(const struct search *s, const char *head)
{
	const json_t *conditions = json_object_get(json_object_get(s->in->object, "status"), "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		const char *message = json_text(json_array_get(conditions, i), "message");
		if (strncmp(message, head, strlen(head)) == 0)
			return message;
	}
	return NULL;
}

// Why it fails; NULL where the kubelet only tells that it waits.
static const char *cause_of_pull(const json_t *waiting)
{
	static const char before_cause[] = "ErrImagePull: ";
	const char *message = json_text(waiting, "message");
	if (!json_text_is(waiting, "reason", "ImagePullBackOff"))
		return message[0] != '\0' ? message : json_text(waiting, "reason");
	const char *cause = strstr(message, before_cause);
	return cause != NULL ? cause + sizeof(before_cause) - 1 : NULL;
}

static void image_trouble(struct search *s, const char *container, const json_t *waiting)
{
	char room[FOREIGN_MAX];
	const char *image = image_of(s->in->deployment, container);
	if (json_text_is(waiting, "reason", "InvalidImageName")) {
		found(s, RANK_IMAGE,
			  xasprintf("container \"%s\": \"%s\" is not the name of an image; correct spec.image", container,
						foreign(image, room)));
		return;
	}
	CLEANUP_FREE
	char *head = xasprintf("container \"%s\": image \"%s\" can't be pulled", container, foreign(image, room));
	const char *cause = cause_of_pull(waiting);
	const char *before = cause == NULL ? told_before(s, head) : NULL;
	if (before != NULL)
		found(s, RANK_IMAGE, xstrdup(before));
	else
		found(s, RANK_IMAGE,
			  xasprintf("%s%s%s; correct spec.image, or name a Secret with credentials for its registry in "
						"spec.imagePullSecrets",
						head, cause != NULL ? ": " : "", cause != NULL ? foreign(cause, room) : ""));
}

// ---- Containers

// The arguments of kubectl for what a container said: of the very pod where others of the Deployment may be well.
static char *logs_of(const struct search *s, const char *container)
{
	const json_t *d = s->in->deployment;
	const json_int_t available = json_integer_value(json_object_get(json_object_get(d, "status"), "availableReplicas"));
	return xasprintf("kubectl logs -n %s %s%s -c %s", kube_namespace(d), available > 0 ? "" : "deploy/",
					 available > 0 ? kube_name(s->pod) : kube_name(d), container);
}

// terminated: NULL where it isn't known how it ended.
static void crash(struct search *s, const char *container, const json_t *terminated)
{
	CLEANUP_FREE
	char *logs = logs_of(s, container);
	char room[FOREIGN_MAX];
	CLEANUP_FREE
	char *how = terminated == NULL ? xstrdup("")
								   : xasprintf(", with exit code %lld (%s)",
											   (long long)json_integer_value(json_object_get(terminated, "exitCode")),
											   foreign(json_text(terminated, "reason"), room));
	const char *remedy =
		json_text_is(terminated, "reason", "OOMKilled") ? "raise spec.resources.limits.memory, and see" : "see";
	found(s, RANK_CRASH,
		  xasprintf("container \"%s\" ends again and again%s; %s what it said last: %s --previous", container, how,
					remedy, logs));
}

static void config_trouble(struct search *s, const char *container, const json_t *waiting)
{
	char reason[FOREIGN_MAX];
	char message[FOREIGN_MAX];
	found(s, RANK_CONFIG,
		  xasprintf("container \"%s\" can't be started (%s)%s%s; correct that, and the kubelet tries again", container,
					foreign(json_text(waiting, "reason"), reason), json_text(waiting, "message")[0] != '\0' ? ": " : "",
					foreign(json_text(waiting, "message"), message)));
}

static void start(struct search *s)
{
	found(s, RANK_START,
		  xasprintf("the pods are being started; if that takes long, see: kubectl get events -n %s",
					kube_namespace(s->in->deployment)));
}

static void waiting_trouble(struct search *s, const char *container, const json_t *waiting, const json_t *last)
{
	const char *reason = json_text(waiting, "reason");
	if (is_about_image(reason))
		image_trouble(s, container, waiting);
	else if (strcmp(reason, "CrashLoopBackOff") == 0)
		crash(s, container, last);
	else if (reason[0] == '\0' || strcmp(reason, "ContainerCreating") == 0 || strcmp(reason, "PodInitializing") == 0)
		start(s);
	else
		config_trouble(s, container, waiting);
}

// Neither waiting nor ended.
static void running_trouble(struct search *s, const char *container, const json_t *last)
{
	if (last != NULL) {
		crash(s, container, last);
		return;
	}
	CLEANUP_FREE
	char *logs = logs_of(s, container);
	found(s, RANK_PROBE,
		  xasprintf("container \"%s\" runs, and its readiness probe fails; see what it says: %s", container, logs));
}

static void container_trouble(struct search *s, const json_t *status, bool is_init)
{
	const char *name = json_text(status, "name");
	const json_t *state = json_object_get(status, "state");
	const json_t *waiting = json_object_get(state, "waiting");
	const json_t *terminated = json_object_get(state, "terminated");
	const json_t *last = json_object_get(json_object_get(status, "lastState"), "terminated");
	const bool done = terminated != NULL && json_integer_value(json_object_get(terminated, "exitCode")) == 0;
	if (json_is_true(json_object_get(status, "ready")) || (is_init && done))
		return;
	if (waiting != NULL)
		waiting_trouble(s, name, waiting, last);
	else if (terminated != NULL)
		crash(s, name, terminated);
	else if (is_init)
		start(s);
	else
		running_trouble(s, name, last);
}

// ---- Pods

static void schedule_trouble(struct search *s, const json_t *scheduled)
{
	char room[FOREIGN_MAX];
	found(s, RANK_SCHEDULE,
		  xasprintf("the scheduler finds no node for the pods: %s; add nodes, or lower spec.resources.requests",
					foreign(json_text(scheduled, "message"), room)));
}

static bool counts(const json_t *pod)
{
	const json_t *status = json_object_get(pod, "status");
	return json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp") == NULL &&
		   !json_text_is(status, "phase", "Failed") && !json_text_is(status, "phase", "Succeeded");
}

static void trouble_of_pod(struct search *s)
{
	const json_t *status = json_object_get(s->pod, "status");
	if (json_text_is(status_condition(s->pod, "Ready"), "status", "True"))
		return;
	const json_t *scheduled = status_condition(s->pod, "PodScheduled");
	const json_t *containers = json_object_get(status, "containerStatuses");
	const json_t *inits = json_object_get(status, "initContainerStatuses");
	if (json_text_is(scheduled, "status", "False") && json_text_is(scheduled, "reason", "Unschedulable"))
		schedule_trouble(s, scheduled);
	else if (json_array_size(containers) == 0 && json_array_size(inits) == 0)
		start(s);
	for (size_t i = 0; i < json_array_size(inits); i++)
		container_trouble(s, json_array_get(inits, i), /* is_init= */ true);
	for (size_t i = 0; i < json_array_size(containers); i++)
		container_trouble(s, json_array_get(containers, i), /* is_init= */ false);
}

static void trouble_of_deployment(struct search *s)
{
	char room[FOREIGN_MAX];
	const json_t *failure = status_condition(s->in->deployment, "ReplicaFailure");
	if (json_text_is(failure, "status", "True"))
		found(s, RANK_CREATE,
			  xasprintf("the API server takes no more pods: %s; correct what refuses them",
						foreign(json_text(failure, "message"), room)));
}

static bool is_available(const json_t *deployment)
{
	return json_integer_value(json_object_get(json_object_get(deployment, "status"), "availableReplicas")) > 0;
}

void pod_trouble_find(const struct pod_trouble_input *in, struct pod_trouble *ret)
{
	struct search s = {.in = in, .rank = RANK_NONE};
	size_t counted = 0;
	for (size_t i = 0; i < json_array_size(in->pods); i++) {
		s.pod = json_array_get(in->pods, i);
		if (!counts(s.pod))
			continue;
		counted++;
		trouble_of_pod(&s);
	}
	trouble_of_deployment(&s);
	// Where all of them are ready, the Deployment only hasn't said so yet.
	if (in->pods != NULL && s.rank == RANK_NONE && (counted == 0 || !is_available(in->deployment)))
		start(&s);
	*ret = (struct pod_trouble){.reason = reasons[s.rank], .lasting = s.rank <= RANK_CONFIG, .message = s.message};
}

void pod_trouble_release(struct pod_trouble *t)
{
	free(t->message);
	*t = (struct pod_trouble){0};
}
