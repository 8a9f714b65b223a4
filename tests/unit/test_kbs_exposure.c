#include <stdio.h>

#include "cases.h"
#include "common/mem.h"
#include "controller/kbs_render.h"
#include "world.h"

#define HTTPS "kbsHttpsKeySecretName: a, kbsHttpsCertSecretName: b"
#define HOST "host: kbs.example.com"
#define GATEWAY "gatewayRef: {name: gate}"

enum { SERVES_ROUTE = 1, SERVES_TLS_ROUTE = 2, SERVES_INGRESS = 4, SERVES_ALL = 7 };

struct exposed {
	json_t *object;
	struct kbs_spec spec;
	struct trustee_world world;
};

static void set_up(struct exposed *e, const char *spec, int serves)
{
	struct error err;
	*e = (struct exposed){.world = {.images = {"r/kbs:v0.21.0", "r/kbs:v0.21.0", "r/as:v0.21.0", "r/rvps:v0.21.0"},
									.served = {.route = (serves & SERVES_ROUTE) != 0,
											   .tls_route = (serves & SERVES_TLS_ROUTE) != 0,
											   .ingress = (serves & SERVES_INGRESS) != 0}}};
	CLEANUP_FREE char *text =
		xasprintf("{apiVersion: " NAME_TRUSTEE_GROUP_VERSION
				  ", kind: KbsConfig, metadata: {name: a-kbs-config, namespace: trustee}, spec: {%s}}",
				  spec);
	e->object = yaml_tree(text);
	if (kbs_decode(e->object, &e->spec, &err) < 0)
		fail_msg("test data: %s", err.msg);
}

static void assert_said(const struct remarks *r, const char *said)
{
	static const char *const levels[] = {"note", "warning", "error"};
	const struct remark *worst = remarks_worst(r, REMARK_NOTE, ABOUT_ROUTE);
	CLEANUP_FREE char *text =
		worst != NULL ? xasprintf("%s, %s: %s", levels[worst->level], worst->reason, worst->message) : NULL;
	assert_text(text, said);
}

// ---- Which kind

struct kind_case {
	const char *name;
	const char *spec;
	int serves;
	enum trustee_exposure exposure;
	const char *said;
};

#define PLAIN(type)                                                                                            \
	"spec.exposure.type is " type ", but the KBS speaks plain HTTP, and is reached by its Service alone; set " \
	"spec.kbsHttpsKeySecretName and spec.kbsHttpsCertSecretName"
#define NOT_SERVED(type, version)                                                                           \
	"warning, RouteNotServed: spec.exposure.type is " type ", but the API server has no " type " (" version \
	"); set a "                                                                                             \
	"type that it has, or None"

static struct kind_case kind_cases[] = {
	{"Auto: a cluster with Routes", HTTPS, SERVES_ALL, EXPOSE_ROUTE, NULL},
	{"Auto: a cluster without", HTTPS, SERVES_INGRESS | SERVES_TLS_ROUTE, EXPOSE_NONE, NULL},
	{"Auto: plain HTTP", "", SERVES_ALL, EXPOSE_NONE, "note, NeedsHTTPS: " PLAIN("Auto")},
	{"Auto: plain HTTP, a cluster without", "", 0, EXPOSE_NONE, NULL},
	{"Route", HTTPS ", exposure: {type: Route}", SERVES_ALL, EXPOSE_ROUTE, NULL},
	{"Route: not served", HTTPS ", exposure: {type: Route}", SERVES_INGRESS, EXPOSE_NONE,
	 NOT_SERVED("Route", "route.openshift.io/v1")},
	{"Route: plain HTTP", "exposure: {type: Route}", SERVES_ALL, EXPOSE_NONE,
	 "warning, NeedsHTTPS: " PLAIN("Route") ", or spec.exposure.type None"},
	{"TLSRoute", HTTPS ", exposure: {type: TLSRoute, " HOST ", " GATEWAY "}", SERVES_ALL, EXPOSE_TLS_ROUTE, NULL},
	{"TLSRoute: not served", HTTPS ", exposure: {type: TLSRoute, " HOST ", " GATEWAY "}", SERVES_ROUTE, EXPOSE_NONE,
	 NOT_SERVED("TLSRoute", "gateway.networking.k8s.io/v1alpha2")},
	{"Ingress", HTTPS ", exposure: {type: Ingress, " HOST "}", SERVES_ALL, EXPOSE_INGRESS, NULL},
	{"Ingress: not served", HTTPS ", exposure: {type: Ingress, " HOST "}", SERVES_ROUTE, EXPOSE_NONE,
	 NOT_SERVED("Ingress", "networking.k8s.io/v1")},
	{"Ingress: plain HTTP", "exposure: {type: Ingress, " HOST "}", SERVES_ALL, EXPOSE_NONE,
	 "warning, NeedsHTTPS: " PLAIN("Ingress") ", or spec.exposure.type None"},
	{"Ingress: half of HTTPS is plain HTTP", "kbsHttpsKeySecretName: a, exposure: {type: Ingress, " HOST "}",
	 SERVES_ALL, EXPOSE_NONE, "warning, NeedsHTTPS: " PLAIN("Ingress") ", or spec.exposure.type None"},
	{"None", HTTPS ", exposure: {type: None}", SERVES_ALL, EXPOSE_NONE, NULL},
	{"None: plain HTTP", "exposure: {type: None}", SERVES_ALL, EXPOSE_NONE, NULL},
};

static void test_kind(void **state)
{
	const struct kind_case *c = *state;
	struct exposed e;
	set_up(&e, c->spec, c->serves);
	json_t *nothing = json_object();
	const struct kbs_render_input in = {.object = e.object, .spec = &e.spec, .objects = nothing, .world = &e.world};
	struct rendered rendered;
	CLEANUP_REMARKS struct remarks remarks = {0};
	kbs_render(&in, &rendered, &remarks);
	assert_int_equal(kbs_exposure(&e.spec, &e.world), c->exposure);
	assert_said(&remarks, c->said);
	// Of all that could expose it, the one that is meant, and no other.
	static const enum trustee_exposure all[] = {EXPOSE_ROUTE, EXPOSE_TLS_ROUTE, EXPOSE_INGRESS};
	for (size_t i = 0; i < COUNT(all); i++)
		assert_int_equal(rendered_wants(&rendered, kbs_exposure_resource(all[i]), "kbs"), all[i] == c->exposure);
	assert_null(kbs_exposure_resource(EXPOSE_NONE));
	rendered_release(&rendered);
	json_decref(nothing);
	json_decref(e.object);
}

// ---- Addresses

struct url_case {
	const char *name;
	const char *spec;
	int serves;
	const char *exposed; // its status, or NULL: it isn't there
	const char *service; // its status, or NULL: it isn't there
	const char *url;
	const char *said;
};

#define ROUTE HTTPS ", exposure: {type: Route}"
#define TLS_ROUTE HTTPS ", exposure: {type: TLSRoute, " HOST ", " GATEWAY "}"
#define BALANCER "kbsServiceType: LoadBalancer"
#define ADMITTED(host) \
	"{host: '" host "', conditions: [{type: Other, status: 'False'}, {type: Admitted, status: 'True'}]}"
#define REFUSED(host)                                                                                   \
	"{host: '" host                                                                                     \
	"', conditions: [{type: Admitted, status: 'False', reason: HostAlreadyClaimed, message: route a/b " \
	"has it}]}"
#define NOT_YET(what)             \
	"note, NotAdmittedYet: " what \
	" \"kbs\" is not admitted yet; if that stays so, see whether the cluster has what serves it"
#define NO_ADDRESS                                                                                                \
	"note, NoAddressYet: Service \"kbs-service\" has no address from a load balancer yet; if that stays so, see " \
	"whether "                                                                                                    \
	"the cluster has one"

static struct url_case url_cases[] = {
	{"Route: admitted", ROUTE, SERVES_ALL, "ingress: [" ADMITTED("kbs.apps") "]", NULL, "https://kbs.apps", NULL},
	{"Route: by the second router", ROUTE, SERVES_ALL, "ingress: [" REFUSED("kbs.apps") ", " ADMITTED("kbs.other") "]",
	 NULL, "https://kbs.other", NULL},
	{"Route: refused", ROUTE, SERVES_ALL, "ingress: [" REFUSED("kbs.apps") "]", NULL, NULL,
	 "warning, NotAdmitted: Route \"kbs\" is not admitted: HostAlreadyClaimed: route a/b has it"},
	{"Route: nothing heard", ROUTE, SERVES_ALL, "{}", NULL, NULL, NOT_YET("Route")},
	{"Route: not there yet", ROUTE, SERVES_ALL, NULL, NULL, NULL, NOT_YET("Route")},
	{"Route: unknown", ROUTE, SERVES_ALL,
	 "ingress: [{host: kbs.apps, conditions: [{type: Admitted, status: Unknown}]}]", NULL, NULL, NOT_YET("Route")},
	{"Route: no conditions", ROUTE, SERVES_ALL, "ingress: [{host: kbs.apps}]", NULL, NULL, NOT_YET("Route")},
	{"Route: no host", ROUTE, SERVES_ALL, "ingress: [{conditions: [{type: Admitted, status: 'True'}]}]", NULL, NULL,
	 NOT_YET("Route")},
	{"Route: odd", ROUTE, SERVES_ALL, "ingress: {a: [1, [], null]}", NULL, NULL, NOT_YET("Route")},
	{"Route: the host that is asked for", HTTPS ", exposure: {" HOST "}", SERVES_ALL,
	 "ingress: [" ADMITTED("kbs.example.com") "]", NULL, "https://kbs.example.com", NULL},
	{"Route: a host that was asked for before", HTTPS ", exposure: {" HOST "}", SERVES_ALL,
	 "ingress: [" ADMITTED("kbs.apps") "]", NULL, NULL, NOT_YET("Route")},
	{"TLSRoute: accepted", TLS_ROUTE, SERVES_ALL, "parents: [{conditions: [{type: Accepted, status: 'True'}]}]", NULL,
	 "https://kbs.example.com", NULL},
	{"TLSRoute: refused", TLS_ROUTE, SERVES_ALL,
	 "parents: [{conditions: [{type: Accepted, status: 'False', reason: NotAllowedByListeners, message: not here}]}]",
	 NULL, NULL, "warning, NotAdmitted: TLSRoute \"kbs\" is not admitted: NotAllowedByListeners: not here"},
	{"TLSRoute: nothing heard", TLS_ROUTE, SERVES_ALL, "parents: []", NULL, NULL, NOT_YET("TLSRoute")},
	{"Ingress", HTTPS ", exposure: {type: Ingress, " HOST "}", SERVES_ALL, NULL, NULL, "https://kbs.example.com", NULL},
	{"Service", "", SERVES_ALL, NULL, NULL, "http://kbs-service.trustee.svc:8080", NULL},
	{"Service: HTTPS", HTTPS ", exposure: {type: None}", SERVES_ALL, NULL, NULL, "https://kbs-service.trustee.svc:8080",
	 NULL},
	{"Service: instance", "instanceName: two", SERVES_ALL, NULL, NULL, "http://two-kbs-service.trustee.svc:8080", NULL},
	{"Service: NodePort", "kbsServiceType: NodePort", SERVES_ALL, NULL, NULL, "http://kbs-service.trustee.svc:8080",
	 NULL},
	{"load balancer: a name", HTTPS ", exposure: {type: None}, " BALANCER, SERVES_ALL, NULL,
	 "loadBalancer: {ingress: [{hostname: lb.example.com}]}", "https://lb.example.com:8080", NULL},
	{"load balancer: an address", BALANCER, SERVES_ALL, NULL, "loadBalancer: {ingress: [{ip: 192.0.2.1}]}",
	 "http://192.0.2.1:8080", NULL},
	{"load balancer: IPv6", BALANCER, SERVES_ALL, NULL, "loadBalancer: {ingress: [{ip: '2001:db8::1'}]}",
	 "http://[2001:db8::1]:8080", NULL},
	{"load balancer: none yet", BALANCER, SERVES_ALL, NULL, "loadBalancer: {}", NULL, NO_ADDRESS},
	{"load balancer: no Service yet", BALANCER, SERVES_ALL, NULL, NULL, NULL, NO_ADDRESS},
	{"load balancer behind a Route", ROUTE ", " BALANCER, SERVES_ALL, "ingress: [" ADMITTED("kbs.apps") "]", NULL,
	 "https://kbs.apps", NULL},
	{"own load balancer: None with a host", HTTPS ", exposure: {type: None, " HOST "}", SERVES_ALL, NULL, NULL,
	 "https://kbs.example.com", NULL},
	{"own load balancer: Auto without Routes", HTTPS ", exposure: {" HOST "}", SERVES_INGRESS, NULL, NULL,
	 "https://kbs.example.com", NULL},
	{"own load balancer: plain HTTP", "exposure: {type: None, " HOST "}", SERVES_ALL, NULL, NULL,
	 "http://kbs.example.com", NULL},
	{"own load balancer: before a NodePort", HTTPS ", kbsServiceType: NodePort, exposure: {type: None, " HOST "}",
	 SERVES_ALL, NULL, NULL, "https://kbs.example.com", NULL},
	{"a name of the load balancer's", HTTPS ", exposure: {type: None, " HOST "}, " BALANCER, SERVES_ALL, NULL,
	 "loadBalancer: {ingress: [{ip: 192.0.2.1}]}", "https://kbs.example.com:8080", NULL},
	{"a name of a load balancer without address", HTTPS ", exposure: {type: None, " HOST "}, " BALANCER, SERVES_ALL,
	 NULL, NULL, NULL, NO_ADDRESS},
	{"a host that no Route can have: plain HTTP", "exposure: {" HOST "}", SERVES_ALL, NULL, NULL,
	 "http://kbs-service.trustee.svc:8080", NULL},
	{"a host that no Route can have: not served", HTTPS ", exposure: {type: Route, " HOST "}", SERVES_INGRESS, NULL,
	 NULL, NULL, NULL},
	{"no host, and no Route: not served", ROUTE, SERVES_INGRESS, NULL, NULL, "https://kbs-service.trustee.svc:8080",
	 NULL},
};

static json_t *with_status(const char *status)
{
	if (status == NULL)
		return NULL;
	CLEANUP_FREE char *text = xasprintf("{status: {%s}}", strcmp(status, "{}") == 0 ? "" : status);
	return yaml_tree(text);
}

static void test_url(void **state)
{
	const struct url_case *c = *state;
	struct exposed e;
	set_up(&e, c->spec, c->serves);
	json_t *exposed = with_status(c->exposed);
	json_t *service = with_status(c->service);
	CLEANUP_REMARKS struct remarks remarks = {0};
	CLEANUP_FREE char *url = kbs_url(e.object, &e.spec, &e.world, service, exposed, &remarks);
	assert_text(url, c->url);
	// Why there is no Route is told by rendering; here is told why there is no address.
	assert_said(&remarks, c->said);
	json_decref(exposed);
	json_decref(service);
	json_decref(e.object);
}

// A file has no namespace.
static void test_no_namespace(void **state)
{
	(void)state;
	struct exposed e;
	set_up(&e, "", 0);
	(void)json_object_del(json_object_get(e.object, "metadata"), "namespace");
	CLEANUP_REMARKS struct remarks remarks = {0};
	CLEANUP_FREE char *url = kbs_url(e.object, &e.spec, &e.world, NULL, NULL, &remarks);
	assert_string_equal(url, "http://kbs-service:8080");
	json_decref(e.object);
}

// Whose fields to set is told by whose Trustee it is.
static void test_https_of_trustee(void **state)
{
	(void)state;
	struct exposed e;
	set_up(&e, "exposure: {type: Route}", SERVES_ALL);
	static const struct trustee_spec trustee;
	json_t *nothing = json_object();
	const struct kbs_render_input in = {
		.object = e.object, .spec = &e.spec, .trustee = &trustee, .objects = nothing, .world = &e.world};
	struct rendered rendered;
	CLEANUP_REMARKS struct remarks remarks = {0};
	kbs_render(&in, &rendered, &remarks);
	assert_said(&remarks, "warning, NeedsHTTPS: spec.exposure.type is Route, but the KBS speaks plain HTTP, and is "
						  "reached by its Service alone; set spec.httpsSpec.tlsSecretName of the TrusteeConfig, or "
						  "spec.exposure.type None");
	rendered_release(&rendered);
	json_decref(nothing);
	json_decref(e.object);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, kind_cases, test_kind);
	ADD_TABLE(&t, url_cases, test_url);
	tests_add(&t, "Service: no namespace", test_no_namespace, NULL);
	tests_add(&t, "NeedsHTTPS: of a TrusteeConfig", test_https_of_trustee, NULL);
	return tests_run("kbs_exposure", &t);
}
