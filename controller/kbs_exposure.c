// What makes a KBS reachable, and under which address.
#include <string.h>

#include "common/mem.h"
#include "controller/kbs_config.h"
#include "controller/kbs_private.h"

bool kbs_speaks_https(const struct kbs_spec *spec)
{
	return spec->secrets.https_key != NULL && spec->secrets.https_cert != NULL;
}

static bool is_served(enum trustee_exposure exposure, const struct trustee_world *world)
{
	switch (exposure) {
	case EXPOSE_ROUTE:
		return world->served.route;
	case EXPOSE_TLS_ROUTE:
		return world->served.tls_route;
	case EXPOSE_INGRESS:
		return world->served.ingress;
	default:
		return false;
	}
}

enum trustee_exposure kbs_exposure(const struct kbs_spec *spec, const struct trustee_world *world)
{
	enum trustee_exposure wanted = (enum trustee_exposure)spec->hosting.exposure.type;
	if (wanted == EXPOSE_AUTO)
		wanted = EXPOSE_ROUTE;
	// All of them pass TLS through, so there must be some.
	return kbs_speaks_https(spec) && is_served(wanted, world) ? wanted : EXPOSE_NONE;
}

const struct kube_resource *kbs_exposure_resource(enum trustee_exposure exposure)
{
	switch (exposure) {
	case EXPOSE_ROUTE:
		return &KUBE_ROUTES;
	case EXPOSE_TLS_ROUTE:
		return &KUBE_TLS_ROUTES;
	case EXPOSE_INGRESS:
		return &KUBE_INGRESSES;
	default:
		return NULL;
	}
}

// ---- Objects

static json_t *route_spec(const struct kbs_spec *spec, const char *service)
{
	json_t *s = json_made(json_pack("{s:{s:s, s:s, s:i}, s:{s:s}, s:{s:s, s:s}}", "to", "kind", "Service", "name",
									service, "weight", 100, "port", "targetPort", KBS_PORT_NAME, "tls", "termination",
									"passthrough", "insecureEdgeTerminationPolicy", "None"));
	if (spec->hosting.exposure.host != NULL)
		json_put(s, "host", json_string(spec->hosting.exposure.host));
	return s;
}

static json_t *tls_route_spec(const struct kbs_spec *spec, const char *service)
{
	const char *ns = spec->hosting.exposure.gateway.ns;
	const char *section = spec->hosting.exposure.gateway.section;
	json_t *parent = json_made(json_pack("{s:s, s:s, s:s}", "group", KUBE_TLS_ROUTES.group, "kind", "Gateway", "name",
										 spec->hosting.exposure.gateway.name));
	json_put_some(parent, "namespace", ns != NULL ? json_string(ns) : NULL);
	json_put_some(parent, "sectionName", section != NULL ? json_string(section) : NULL);
	return json_made(json_pack("{s:[o], s:[s], s:[{s:[{s:s, s:s, s:s, s:i, s:i}]}]}", "parentRefs", parent, "hostnames",
							   spec->hosting.exposure.host, "rules", "backendRefs", "group", "", "kind", "Service",
							   "name", service, "port", KBS_PORT, "weight", 1));
}

static json_t *ingress_spec(const struct kbs_spec *spec, const char *service)
{
	const char *class = spec->hosting.exposure.ingress_class;
	json_t *path = json_made(json_pack("{s:s, s:s, s:{s:{s:s, s:{s:s}}}}", "path", "/", "pathType", "Prefix", "backend",
									   "service", "name", service, "port", "name", KBS_PORT_NAME));
	json_t *s = json_made(
		json_pack("{s:[{s:s, s:{s:[o]}}]}", "rules", "host", spec->hosting.exposure.host, "http", "paths", path));
	json_put_some(s, "ingressClassName", class != NULL ? json_string(class) : NULL);
	return s;
}

// Why what the spec asks for can't be had.
static void add_unexposed(const struct kbs_spec *spec, bool of_trustee, const struct trustee_world *world,
						  struct remarks *remarks)
{
	enum trustee_exposure wanted = (enum trustee_exposure)spec->hosting.exposure.type;
	bool https = kbs_speaks_https(spec);
	if (wanted == EXPOSE_NONE || (wanted == EXPOSE_AUTO && (https || !world->served.route)))
		return;
	if (!https) {
		remarks_add(remarks, wanted == EXPOSE_AUTO ? REMARK_NOTE : REMARK_WARNING, ABOUT_ROUTE, "NeedsHTTPS",
					"spec.exposure.type is %s, but the KBS speaks plain HTTP, and is reached by its Service alone; set "
					"%s%s",
					trustee_exposure_names[wanted],
					of_trustee ? "spec.httpsSpec.tlsSecretName of the TrusteeConfig"
							   : "spec.kbsHttpsKeySecretName and spec.kbsHttpsCertSecretName",
					wanted == EXPOSE_AUTO ? "" : ", or spec.exposure.type None");
		return;
	}
	const struct kube_resource *res = kbs_exposure_resource(wanted);
	if (res == NULL)
		return;
	remarks_add(remarks, REMARK_WARNING, ABOUT_ROUTE, "RouteNotServed",
				"spec.exposure.type is %s, but the API server has no %s (%s/%s); set a type that it has, or None",
				trustee_exposure_names[wanted], res->kind, res->group, res->version);
}

void kbs_exposure_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
{
	enum trustee_exposure exposure = kbs_exposure(in->spec, in->world);
	const struct kube_resource *res = kbs_exposure_resource(exposure);
	if (res == NULL) {
		add_unexposed(in->spec, in->trustee != NULL, in->world, remarks);
		return;
	}
	CLEANUP_FREE char *name = kbs_exposure_name(in->spec);
	CLEANUP_FREE char *service = kbs_service_name(in->spec);
	json_t *metadata = kbs_metadata(in, name, "exposure");
	json_t *spec = NULL;
	if (exposure == EXPOSE_ROUTE) {
		spec = route_spec(in->spec, service);
	} else if (exposure == EXPOSE_TLS_ROUTE) {
		spec = tls_route_spec(in->spec, service);
	} else {
		spec = ingress_spec(in->spec, service);
		json_put(metadata, "annotations",
				 json_pack("{s:s, s:s}", "nginx.ingress.kubernetes.io/ssl-passthrough", "true",
						   "nginx.ingress.kubernetes.io/backend-protocol", "HTTPS"));
	}
	rendered_add(ret, res, json_made(json_pack("{s:o, s:o}", "metadata", metadata, "spec", spec)));
}

// ---- Metrics

// The one certificate that the KBS has is the one to trust. Under which name it is good is known where the spec says so; a
// certificate for a host that the cluster has chosen is none for an address within it.
static json_t *monitor_tls(const struct kbs_spec *spec)
{
	const char *host = spec->hosting.exposure.host;
	if (host == NULL)
		return json_made(json_pack("{s:b}", "insecureSkipVerify", 1));
	return json_made(json_pack("{s:s, s:{s:{s:s, s:s}}}", "serverName", host, "ca", "secret", "name",
							   spec->secrets.https_cert, "key", "certificate"));
}

void kbs_monitor_render(const struct kbs_render_input *in, struct rendered *ret, struct remarks *remarks)
{
	if (!in->spec->hosting.metrics.service_monitor)
		return;
	if (!in->world->served.service_monitor) {
		remarks_add(
			remarks, REMARK_WARNING, ABOUT_SPEC, "ServiceMonitorNotServed",
			"spec.metrics.serviceMonitor is true, but the API server has no ServiceMonitor (%s/%s); install the "
			"Prometheus operator, or drop it",
			KUBE_SERVICE_MONITORS.group, KUBE_SERVICE_MONITORS.version);
		return;
	}
	bool https = kbs_speaks_https(in->spec);
	CLEANUP_FREE char *name = kbs_service_name(in->spec);
	CLEANUP_FREE char *app = kbs_app(in->spec);
	json_t *endpoint = json_made(
		json_pack("{s:s, s:s, s:s}", "port", KBS_PORT_NAME, "path", "/metrics", "scheme", https ? "https" : "http"));
	json_put_some(endpoint, "tlsConfig", https ? monitor_tls(in->spec) : NULL);
	rendered_add(ret, &KUBE_SERVICE_MONITORS,
				 json_made(json_pack("{s:o, s:{s:{s:{s:s}}, s:[o]}}", "metadata", kbs_metadata(in, name, "monitoring"),
									 "spec", "selector", "matchLabels", LABEL_APP, app, "endpoints", endpoint)));
}

// ---- Address

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static const json_t *status_of(const json_t *object, const char *key)
{
	return json_object_get(json_object_get(object, "status"), key);
}

static const json_t *condition_of(const json_t *object, const char *type)
{
	size_t i;
	json_t *condition;
	json_array_foreach (json_object_get(object, "conditions"), i, condition)
		if (strcmp(text_at(condition, "type"), type) == 0)
			return condition;
	return NULL;
}

// What a router or gateway has said of an object of ours.
struct verdict {
	const json_t *accepted; // the entry that was taken
	const json_t *refused;  // the condition that says why another wasn't
};

// entries: of a status, each with conditions.
static struct verdict judge(const json_t *entries, const char *type, const char *host)
{
	struct verdict v = {0};
	size_t i;
	json_t *entry;
	json_array_foreach (entries, i, entry) {
		const json_t *condition = condition_of(entry, type);
		const char *status = text_at(condition, "status");
		// Of a host that the spec has named before, or hasn't named: out of date.
		if (host != NULL && strcmp(text_at(entry, "host"), host) != 0)
			continue;
		if (strcmp(status, "True") == 0 && v.accepted == NULL)
			v.accepted = entry;
		else if (strcmp(status, "False") == 0 && v.refused == NULL)
			v.refused = condition;
	}
	return v;
}

static char *exposed_url(const struct kube_resource *res, const char *name, const struct verdict *v, const char *host,
						 struct remarks *remarks)
{
	if (v->accepted != NULL && host[0] != '\0')
		return xasprintf("https://%s", host);
	if (v->refused != NULL)
		remarks_add(remarks, REMARK_WARNING, ABOUT_ROUTE, "NotAdmitted", "%s \"%s\" is not admitted: %s: %s", res->kind,
					name, text_at(v->refused, "reason"), text_at(v->refused, "message"));
	else
		remarks_add(remarks, REMARK_NOTE, ABOUT_ROUTE, "NotAdmittedYet",
					"%s \"%s\" is not admitted yet; if that stays so, see whether the cluster has what serves it",
					res->kind, name);
	return NULL;
}

static char *balancer_url(const struct kbs_spec *spec, const char *scheme, const char *own_host, const json_t *service,
						  struct remarks *remarks)
{
	CLEANUP_FREE char *name = kbs_service_name(spec);
	const json_t *first = json_array_get(json_object_get(status_of(service, "loadBalancer"), "ingress"), 0);
	const char *host = text_at(first, "hostname");
	const char *ip = text_at(first, "ip");
	const char *address = host[0] != '\0' ? host : ip;
	if (address[0] != '\0' && own_host != NULL)
		return xasprintf("%s://%s:%d", scheme, own_host, KBS_PORT);
	bool v6 = strchr(address, ':') != NULL;
	if (address[0] != '\0')
		return xasprintf("%s://%s%s%s:%d", scheme, v6 ? "[" : "", address, v6 ? "]" : "", KBS_PORT);
	remarks_add(
		remarks, REMARK_NOTE, ABOUT_ROUTE, "NoAddressYet",
		"Service \"%s\" has no address from a load balancer yet; if that stays so, see whether the cluster has one",
		name);
	return NULL;
}

// Nothing is made that exposes it. own_host: the name that the admin leads to the Service; or NULL.
static char *service_url(const json_t *object, const struct kbs_spec *spec, const char *own_host, const json_t *service,
						 struct remarks *remarks)
{
	const char *scheme = kbs_speaks_https(spec) ? "https" : "http";
	const char *ns = kube_namespace(object);
	if (strcmp(spec->hosting.service_type, "LoadBalancer") == 0)
		return balancer_url(spec, scheme, own_host, service, remarks);
	if (own_host != NULL)
		return xasprintf("%s://%s", scheme, own_host);
	CLEANUP_FREE char *name = kbs_service_name(spec);
	return xasprintf("%s://%s%s%s%s:%d", scheme, name, ns[0] != '\0' ? "." : "", ns, ns[0] != '\0' ? ".svc" : "",
					 KBS_PORT);
}

// Whether exposing it is the admin's business: nothing that the cluster has was asked for.
static bool is_left_to_admin(const struct kbs_spec *spec, const struct trustee_world *world)
{
	enum trustee_exposure wanted = (enum trustee_exposure)spec->hosting.exposure.type;
	return wanted == EXPOSE_NONE || (wanted == EXPOSE_AUTO && !world->served.route);
}

char *kbs_url(const json_t *object, const struct kbs_spec *spec, const struct trustee_world *world,
			  const json_t *service, const json_t *exposed, struct remarks *remarks)
{
	enum trustee_exposure exposure = kbs_exposure(spec, world);
	const struct kube_resource *res = kbs_exposure_resource(exposure);
	const char *host = spec->hosting.exposure.host;
	CLEANUP_FREE char *name = kbs_exposure_name(spec);
	struct verdict v = {0};
	switch (exposure) {
	case EXPOSE_ROUTE:
		v = judge(status_of(exposed, "ingress"), "Admitted", host);
		return exposed_url(res, name, &v, text_at(v.accepted, "host"), remarks);
	case EXPOSE_TLS_ROUTE:
		v = judge(status_of(exposed, "parents"), "Accepted", NULL);
		return exposed_url(res, name, &v, host, remarks);
	case EXPOSE_INGRESS:
		// Controllers that pass TLS through don't tell.
		return xasprintf("https://%s", host);
	default:
		if (is_left_to_admin(spec, world))
			return service_url(object, spec, host, service, remarks);
		// What is asked for can't be had, as a remark of rendering says. Its certificate is for the host: not for the Service.
		return host != NULL && kbs_speaks_https(spec)
				   ? NULL
				   : service_url(object, spec, /* own_host= */ NULL, service, remarks);
	}
}
