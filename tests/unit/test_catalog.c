#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"
#include "common/catalog_dir.h"
#include "common/catalog_store.h"
#include "common/mem.h"
#include "common/names.h"

#define SYS "sys"
#define TEXT_MAX ((size_t)1024 * 1024)

// ---- Documents in, what is in the catalog out

// What was complained about, "origin|key|message" a line; the path of a file as "@".
static void note_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	const char *path = strstr(message, "build/");
	const char *rest = path != NULL ? path + strcspn(path, ": ") : message;
	buf_addf(ctx, "%s|%s|%.*s%s%s\n", origin, key, path != NULL ? (int)(path - message) : 0, message,
			 path != NULL ? "@" : "", rest);
}

// A document whose first line says so is one of a folder beside the API server.
#define OF_FOLDER "# folder\n"

static struct catalog *build_from(const char *yaml, const struct catalog *previous, struct buf *problems)
{
	CLEANUP_CATALOG_DOCUMENTS
	struct catalog_documents docs = {0};
	struct error err;
	const char *folder = strstr(yaml, OF_FOLDER);
	size_t n = folder != NULL ? (size_t)(folder - yaml) : strlen(yaml);
	if (catalog_documents_read(&docs, (struct str){yaml, n}, "f", &err) < 0)
		fail_msg("test data: %s", err.msg);
	size_t first = docs.n;
	if (folder != NULL && catalog_documents_read(&docs, str_from(folder), "g", &err) < 0)
		fail_msg("test data: %s", err.msg);
	for (size_t i = first; i < docs.n; i++)
		docs.v[i].fallback = true;
	return catalog_build(docs.v, docs.n, SYS, previous, note_problem, problems);
}

// All profiles, "ns/name url problem" a line.
static void describe(const struct catalog *c, struct buf *out)
{
	size_t n = 0;
	const struct catalog_profile *p = catalog_profiles(c, &n);
	for (size_t i = 0; i < n; i++) {
		const char *url = p[i].profile != NULL ? p[i].profile->spec.initdata.kbs.url : "none";
		buf_addf(out, "%s/%s %s", p[i].ns, p[i].name, url != NULL ? url : "file");
		if (p[i].profile != NULL && strcmp(p[i].profile->ns, p[i].ns) != 0)
			buf_addf(out, " of %s", p[i].profile->ns);
		buf_addf(out, "%s%s\n", p[i].problem != NULL ? ": " : "", p[i].problem != NULL ? p[i].problem : "");
	}
}

#define HEAD "apiVersion: " NAME_GROUP_VERSION "\nkind: ConfidentialProfile\nmetadata: "
#define SPEC(url) "\nspec: {initdata: {kbs: {url: '" url "'}}}\n---\n"
#define PROFILE(ns, name, url) HEAD "{namespace: " ns ", name: " name "}" SPEC(url)
#define LOCAL(name, url) HEAD "{name: " name "}" SPEC(url)
#define BAD(ns, name) HEAD "{namespace: " ns ", name: " name "}\nspec: {}\n---\n"
#define BAD_SAYS "spec.initdata needs exactly one of kbs, configMapKeyRef and trusteeConfigRef; it has 0"
#define BY_MAP(ns, name) \
	HEAD "{namespace: " ns ", name: " name "}\nspec: {initdata: {configMapKeyRef: {name: m, key: k}}}\n---\n"
#define MAP(meta, data) "apiVersion: v1\nkind: ConfigMap\nmetadata: " meta "\ndata: " data "\n---\n"
#define TOML "\"version = '0.1.0'\\nalgorithm = 'sha256'\\n[data]\\n\""
#define TWICE "two documents define this profile; remove one"
#define UNNAMED "metadata.name or namespace is missing, or has other characters than a-z, 0-9, '-' and '.'; correct it"
#define OTHER_KIND                                          \
	"is neither a ConfidentialProfile (" NAME_GROUP_VERSION \
	") nor a ConfigMap nor a Namespace (v1); correct kind and apiVersion, or remove it"
#define NO_NAME "metadata.name is missing, or is no name of Kubernetes; correct it"

struct build_case {
	const char *name;
	const char *before; // NULL: there is no catalog yet
	const char *yaml;
	const char *want;
	const char *problems;
};

#define NAMESPACE_TWICE "a Namespace stands twice, an enabled one counts; remove one\n"
#define NAMESPACE_LABEL                                                                                  \
	"label " LABEL_CONFIDENTIAL                                                                          \
	" of a Namespace is neither \"enabled\" nor \"disabled\": its TaskRun pods are left alone; correct " \
	"it\n"
#define ENABLED(value) \
	"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels: {" LABEL_CONFIDENTIAL ": " value "}\n"

static struct build_case build_cases[] = {
	{"build: nothing", NULL, "", "", ""},
	{"build: sorted", NULL, PROFILE("b", "a", "http://1") PROFILE("a", "c", "http://2") PROFILE("a", "b", "http://3"),
	 "a/b http://3\na/c http://2\nb/a http://1\n", ""},
	{"build: without a namespace", NULL, LOCAL("a", "http://1"), "sys/a http://1\n", ""},
	{"build: a list", NULL,
	 "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: " NAME_GROUP_VERSION
	 ", kind: ConfidentialProfile, metadata: {name: a}, spec: {}}\n- 5\n",
	 "sys/a none: " BAD_SAYS "\n", "f:1, item 1||" OTHER_KIND "\nf:1, item 0|sys/a|" BAD_SAYS "\n"},
	{"build: a bad one", NULL, BAD("a", "b"), "a/b none: " BAD_SAYS "\n", "f:1|a/b|" BAD_SAYS "\n"},
	{"build: last good", PROFILE("a", "b", "http://1"), BAD("a", "b"), "a/b http://1: " BAD_SAYS "\n",
	 "f:1|a/b|" BAD_SAYS "\n"},
	{"build: last good, without a namespace", LOCAL("b", "http://1"), BAD(SYS, "b"), "sys/b http://1: " BAD_SAYS "\n",
	 "f:1|sys/b|" BAD_SAYS "\n"},
	{"build: last good is of the same name", PROFILE("a", "b", "http://1"), BAD("a", "c") BAD("b", "b"),
	 "a/c none: " BAD_SAYS "\nb/b none: " BAD_SAYS "\n", "f:1|a/c|" BAD_SAYS "\nf:6|b/b|" BAD_SAYS "\n"},
	{"build: good again", BAD("a", "b"), PROFILE("a", "b", "http://1"), "a/b http://1\n", ""},
	{"build: changed", PROFILE("a", "b", "http://1"), PROFILE("a", "b", "http://2"), "a/b http://2\n", ""},
	{"build: removed", PROFILE("a", "b", "http://1"), PROFILE("a", "c", "http://2"), "a/c http://2\n", ""},
	{"build: twice", NULL, PROFILE("a", "b", "http://1") PROFILE("a", "b", "http://2"), "a/b none: " TWICE "\n",
	 "f:6|a/b|" TWICE "\n"},
	{"build: twice, after a good one", PROFILE("a", "b", "http://1"),
	 PROFILE("a", "b", "http://2") PROFILE("a", "b", "http://3"), "a/b http://1: " TWICE "\n", "f:6|a/b|" TWICE "\n"},
	{"build: three times", PROFILE("a", "b", "http://1"),
	 PROFILE("a", "b", "http://2") PROFILE("a", "b", "http://3") PROFILE("a", "b", "http://4"),
	 "a/b http://1: " TWICE "\n", "f:6|a/b|" TWICE "\nf:11|a/b|" TWICE "\n"},
	{"build: twice, with and without a namespace", NULL, PROFILE(SYS, "b", "http://1") LOCAL("b", "http://2"),
	 "sys/b none: " TWICE "\n", "f:6|sys/b|" TWICE "\n"},
	{"build: an object and a file", NULL, PROFILE("a", "b", "http://1") OF_FOLDER PROFILE("a", "b", "http://2"),
	 "a/b http://1\n", ""},
	{"build: a bad object and a file", NULL, BAD("a", "b") OF_FOLDER PROFILE("a", "b", "http://2"),
	 "a/b none: " BAD_SAYS "\n", "f:1|a/b|" BAD_SAYS "\n"},
	{"build: no object, and a file", PROFILE("a", "b", "http://1"), OF_FOLDER PROFILE("a", "b", "http://2"),
	 "a/b http://2\n", ""},
	{"build: an object and two files", NULL,
	 PROFILE("a", "b", "http://1") OF_FOLDER PROFILE("a", "b", "http://2") PROFILE("a", "b", "http://3"),
	 "a/b http://1\n", ""},
	{"build: two files", NULL, OF_FOLDER PROFILE("a", "b", "http://2") PROFILE("a", "b", "http://3"),
	 "a/b none: " TWICE "\n", "g:7|a/b|" TWICE "\n"},
	{"build: the same name elsewhere", NULL, PROFILE("a", "b", "http://1") PROFILE("c", "b", "http://2"),
	 "a/b http://1\nc/b http://2\n", ""},
	{"build: no name", NULL, HEAD "{}" SPEC("http://1"), "", "f:1||" UNNAMED "\n"},
	{"build: name with other characters", NULL, LOCAL("A", "http://1") LOCAL("a/b", "http://1") LOCAL("''", "http://1"),
	 "", "f:1||" UNNAMED "\nf:6||" UNNAMED "\nf:11||" UNNAMED "\n"},
	{"build: namespace with other characters", NULL, PROFILE("a_b", "c", "http://1"), "", "f:1||" UNNAMED "\n"},
	{"build: other kinds", NULL,
	 "kind: ConfidentialProfile\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfidentialProfile\n---\n"
	 "apiVersion: " NAME_GROUP "/v1\nkind: ConfidentialProfile\n---\napiVersion: v1\nkind: Pod\n---\n"
	 "apiVersion: v2\nkind: ConfigMap\n---\n5\n---\n[a]\n",
	 "",
	 "f:1||" OTHER_KIND "\nf:4||" OTHER_KIND "\nf:7||" OTHER_KIND "\nf:10||" OTHER_KIND "\nf:13||" OTHER_KIND
	 "\nf:16||" OTHER_KIND "\nf:18||" OTHER_KIND "\n"},
	{"map: after its profile", NULL, BY_MAP("a", "b") MAP("{name: m, namespace: a}", "{k: " TOML "}"), "a/b file\n",
	 ""},
	{"map: without a namespace", NULL, BY_MAP(SYS, "b") MAP("{name: m}", "{k: " TOML "}"), "sys/b file\n", ""},
	{"map: of another namespace", NULL, BY_MAP("a", "b") MAP("{name: m}", "{k: " TOML "}"),
	 "a/b none: spec.initdata.configMapKeyRef: there is no ConfigMap \"m\" in namespace \"a\"; create it with key "
	 "\"k\"\n",
	 "f:1|a/b|spec.initdata.configMapKeyRef: there is no ConfigMap \"m\" in namespace \"a\"; create it with key "
	 "\"k\"\n"},
	{"map: without the key", NULL, BY_MAP("a", "b") MAP("{name: m, namespace: a}", "{K: x}"),
	 "a/b none: spec.initdata.configMapKeyRef: ConfigMap \"m\" of namespace \"a\" has no text under key \"k\"; add "
	 "it\n",
	 "f:1|a/b|spec.initdata.configMapKeyRef: ConfigMap \"m\" of namespace \"a\" has no text under key \"k\"; add it\n"},
	{"map: a number under the key", NULL, BY_MAP("a", "b") MAP("{name: m, namespace: a}", "{k: 1}"),
	 "a/b none: spec.initdata.configMapKeyRef: ConfigMap \"m\" of namespace \"a\" has no text under key \"k\"; add "
	 "it\n",
	 "f:1|a/b|spec.initdata.configMapKeyRef: ConfigMap \"m\" of namespace \"a\" has no text under key \"k\"; add it\n"},
	{"map: twice", NULL,
	 BY_MAP("a", "b") MAP("{name: m, namespace: a}", "{k: x}") MAP("{name: m, namespace: a}", "{k: " TOML "}"),
	 "a/b file\n", "f:11||a ConfigMap stands twice, the last one counts; remove one\n"},
	{"map: no name", NULL, MAP("{}", "{}") MAP("{name: a/b}", "{}"), "", "f:1||" NO_NAME "\nf:6||" NO_NAME "\n"},
	{"namespace: twice", NULL,
	 "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: "
	 "a}\n",
	 "", "f:5||" NAMESPACE_TWICE},
	{"namespace: twice, enabled first", NULL, ENABLED("enabled") "---\n" ENABLED("disabled"), "",
	 "f:7||" NAMESPACE_TWICE},
	{"namespace: misspelled", NULL, ENABLED("Enabled"), "", "f:1||" NAMESPACE_LABEL},
	{"namespace: a boolean", NULL, ENABLED("true"), "", "f:1||" NAMESPACE_LABEL},
};

static void test_build(void **state)
{
	const struct build_case *c = *state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	struct catalog *before = c->before != NULL ? build_from(c->before, NULL, &problems) : NULL;
	buf_clear(&problems);
	struct catalog *now = build_from(c->yaml, before, &problems);
	catalog_unref(before); // what was kept of it must not need it
	describe(now, &got);
	assert_string_equal(buf_z(&got), c->want);
	assert_string_equal(buf_z(&problems), c->problems);
	catalog_unref(now);
}

// A profile without a namespace is kept by catalog after catalog, whose strings go with them.
static void test_kept_long(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	CLEANUP_BUF
	struct buf got = BUF_INIT(TEXT_MAX);
	struct catalog *c = build_from(LOCAL("a", "http://1"), NULL, &problems);
	for (int i = 0; i < 3; i++) {
		struct catalog *next = build_from(BAD(SYS, "a"), c, &problems);
		catalog_unref(c);
		c = next;
	}
	describe(c, &got);
	assert_string_equal(buf_z(&got), "sys/a http://1: " BAD_SAYS "\n");
	catalog_unref(c);
}

// ---- Looking up

struct lookup_case {
	const char *name;
	struct str ns, profile;
	bool found;
};

static struct lookup_case lookup_cases[] = {
	{"lookup: first", {"a", 1}, {"b", 1}, true},
	{"lookup: last", {"z", 1}, {"z", 1}, true},
	{"lookup: middle", {"aa", 2}, {"b", 1}, true},
	{"lookup: a slice", {"aaX", 2}, {"bX", 1}, true},
	{"lookup: other namespace", {"b", 1}, {"b", 1}, false},
	{"lookup: other name", {"a", 1}, {"a", 1}, false},
	{"lookup: beginning of a name", {"z", 1}, {"y", 1}, false},
	{"lookup: longer name", {"a", 1}, {"bb", 2}, false},
	{"lookup: longer namespace", {"aaa", 3}, {"b", 1}, false},
	{"lookup: empty", {"", 0}, {"", 0}, false},
	{"lookup: absent", {NULL, 0}, {NULL, 0}, false},
	{"lookup: NUL", {"a\0", 2}, {"b", 1}, false},
	{"lookup: high byte", {"\xFF", 1}, {"b", 1}, false},
};

static void test_lookup(void **state)
{
	const struct lookup_case *c = *state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	struct catalog *all = build_from(PROFILE("z", "yy", "http://1") PROFILE("a", "b", "http://2")
										 PROFILE("aa", "b", "http://3") PROFILE("z", "z", "http://4"),
									 NULL, &problems);
	const struct catalog_profile *p = catalog_profile(all, c->ns, c->profile);
	assert_int_equal(p != NULL, c->found);
	if (p != NULL) {
		assert_memory_equal(p->ns, c->ns.p, c->ns.n);
		assert_memory_equal(p->name, c->profile.p, c->profile.n);
	}
	catalog_unref(all);
}

static void assert_str(struct str got, const char *want)
{
	if (want == NULL ? got.p != NULL : !str_is(got, want))
		fail_msg("got %.*s, want %s", STR_ARG(got), want != NULL ? want : "nothing");
}

static void test_namespaces(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	struct catalog *c =
		build_from("apiVersion: v1\nkind: Namespace\n"
				   "metadata: {name: a, labels: {l: v, e: '', i: 1}, annotations: {x: w}}\n---\n"
				   "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\n" MAP("{name: c}", "{l: no}"),
				   NULL, &problems);
	assert_str(catalog_namespace_label(c, STR("a"), "l"), "v");
	assert_str(catalog_namespace_label(c, STR("a"), "e"), "");
	assert_str(catalog_namespace_label(c, STR("a"), "i"), NULL);
	assert_str(catalog_namespace_label(c, STR("a"), "x"), NULL);
	assert_str(catalog_namespace_annotation(c, STR("a"), "x"), "w");
	assert_str(catalog_namespace_annotation(c, STR("a"), "l"), NULL);
	assert_str(catalog_namespace_label(c, STR("b"), "l"), NULL);
	assert_str(catalog_namespace_label(c, STR("c"), "l"), NULL);
	assert_str(catalog_namespace_label(c, (struct str){"ab", 1}, "l"), "v");
	assert_str(catalog_namespace_label(c, (struct str){NULL, 0}, "l"), NULL);
	assert_string_equal(catalog_system_namespace(c), SYS);
	catalog_unref(c);
}

// ---- What didn't change is taken over

static json_t *made_profile(const char *uid, int generation, const char *map, const char *class)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}, s:{s:s, s:{s:{s:s, s:s}}}}", "apiVersion", NAME_GROUP_VERSION,
					 "kind", "ConfidentialProfile", "metadata", "namespace", "a", "name", "b", "uid", uid, "generation",
					 generation, "spec", "runtimeClassName", class, "initdata", "configMapKeyRef", "name", map, "key",
					 "k");
}

static json_t *made_map(const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata",
					 "namespace", "a", "name", name, "data", "k", "version = '0.1.0'\nalgorithm = 'sha256'\n[data]\n");
}

struct reuse_case {
	const char *name;
	const char *uid;
	int generation;
	const char *map, *class;
	bool same_map; // the very object of the first catalog
	bool no_map;
	bool reused;
};

static struct reuse_case reuse_cases[] = {
	{"reuse: nothing changed", "u", 3, "m", "k", true, false, true},
	{"reuse: another generation", "u", 4, "m", "k", true, false, false},
	{"reuse: another object of the name", "v", 3, "m", "k", true, false, false},
	{"reuse: without a generation", "u", 0, "m", "k", true, false, false},
	{"reuse: another spec, counted anew from a backup", "u", 3, "m", "l", true, false, false},
	{"reuse: the ConfigMap changed", "u", 3, "m", "k", false, false, false},
	{"reuse: the ConfigMap went, the last good one stays", "u", 3, "m", "k", false, true, true},
	{"reuse: another object of the name, and the ConfigMap went", "v", 3, "m", "k", false, true, false},
};

static void test_reuse(void **state)
{
	const struct reuse_case *c = *state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	char origin[] = "x";
	json_t *map = made_map("m");
	json_t *other = made_map("m");
	json_t *before = made_profile("u", c->generation == 0 ? 0 : 3, "m", "k");
	json_t *after = made_profile(c->uid, c->generation, c->map, c->class);
	const struct catalog_document first[] = {{before, origin, false, false}, {map, origin, false, false}};
	const struct catalog_document then[] = {{after, origin, false, false},
											{c->same_map ? map : other, origin, false, false}};
	struct catalog *old = catalog_build(first, 2, SYS, NULL, note_problem, &problems);
	struct catalog *new = catalog_build(then, c->no_map ? 1 : 2, SYS, old, note_problem, &problems);
	const struct catalog_profile *a = catalog_profile(old, STR("a"), STR("b"));
	const struct catalog_profile *b = catalog_profile(new, STR("a"), STR("b"));
	assert_non_null(a->profile);
	assert_int_equal(a->profile == b->profile, c->reused);
	assert_int_equal(b->problem != NULL, c->no_map);
	catalog_unref(old);
	catalog_unref(new);
	json_decref(map);
	json_decref(other);
	json_decref(before);
	json_decref(after);
}

// ---- What was not read yet

#define UNREAD "the ConfigMaps that it refers to are not read from the API server yet; try again"

struct unread_case {
	const char *name;
	const char *uid_before; // NULL: there was none
	bool map_before;        // else it wasn't good
	bool lost;              // the ConfigMap went, before what comes now
	const char *problem;    // NULL: none
	int generation;
	bool reused;
};

static struct unread_case unread_cases[] = {
	{"unread: new", NULL, false, false, UNREAD, 4, false},
	{"unread: was good", "u", true, false, NULL, 3, true},
	{"unread: never was good", "u", false, false, UNREAD, 4, false},
	{"unread: another object of the name was good", "v", true, false, UNREAD, 4, false},
	{"unread: the last good one was in use", "u", true, true,
	 "spec.initdata.configMapKeyRef: there is no ConfigMap \"m\" in namespace \"a\"; create it with key \"k\"", 3,
	 true},
};

static void test_unread(void **state)
{
	const struct unread_case *c = *state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	char origin[] = "x";
	json_t *map = made_map("m");
	json_t *before = made_profile(c->uid_before != NULL ? c->uid_before : "u", 3, "m", "k");
	json_t *after = made_profile("u", 4, "n", "k");
	const struct catalog_document first[] = {{before, origin, false, false}, {map, origin, false, false}};
	// No ConfigMap is there: what was compiled once needs none.
	const struct catalog_document then[] = {{after, origin, true, false}};
	struct catalog *old = catalog_build(first,
										c->uid_before == NULL ? 0
										: c->map_before       ? 2
															  : 1,
										SYS, NULL, note_problem, &problems);
	if (c->lost) {
		struct catalog *without = catalog_build(first, 1, SYS, old, note_problem, &problems);
		catalog_unref(old);
		old = without;
	}
	buf_clear(&problems);
	struct catalog *new = catalog_build(then, 1, SYS, old, note_problem, &problems);
	const struct catalog_profile *a = catalog_profile(old, STR("a"), STR("b"));
	const struct catalog_profile *b = catalog_profile(new, STR("a"), STR("b"));
	assert_non_null(b);
	if (c->reused)
		assert_ptr_equal(b->profile, a->profile);
	else
		assert_null(b->profile);
	assert_int_equal(b->problem_code == EAGAIN, c->problem != NULL && strcmp(c->problem, UNREAD) == 0);
	assert_string_equal(b->problem != NULL ? b->problem : "", c->problem != NULL ? c->problem : "");
	assert_int_equal(b->generation, c->generation);
	assert_string_equal(buf_z(&problems), ""); // it is no problem yet, and no new one
	catalog_unref(old);
	catalog_unref(new);
	json_decref(map);
	json_decref(before);
	json_decref(after);
}

static void test_store(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf problems = BUF_INIT(TEXT_MAX);
	struct catalog_store store = CATALOG_STORE_INIT;
	assert_null(catalog_store_get(&store));
	catalog_store_put(&store, build_from(LOCAL("a", "http://1"), NULL, &problems));
	struct catalog *old = catalog_store_get(&store);
	catalog_store_put(&store, build_from("", NULL, &problems));
	struct catalog *now = catalog_store_get(&store);
	assert_non_null(catalog_profile(old, STR(SYS), STR("a")));
	assert_null(catalog_profile(now, STR(SYS), STR("a")));
	catalog_unref(old);
	catalog_unref(now);
	catalog_store_put(&store, NULL);
	assert_null(catalog_store_get(&store));
}

// ---- A folder

struct folder {
	char path[64];
	struct catalog_dir *dir;
	struct catalog *catalog;
	struct buf problems, got;
};

static void folder_begin(struct folder *f)
{
	*f =
		(struct folder){.path = "build/test_catalog.XXXXXX", .problems = BUF_INIT(TEXT_MAX), .got = BUF_INIT(TEXT_MAX)};
	if (mkdtemp(f->path) == NULL)
		fail_msg("%s: %s; run the test in the repository's root", f->path, strerror(errno));
	f->dir = catalog_dir_new(f->path, SYS);
}

static char *inside(const struct folder *f, const char *name)
{
	return xasprintf("%s/%s", f->path, name);
}

static void put(const struct folder *f, const char *name, const char *text)
{
	CLEANUP_FREE
	char *path = inside(f, name);
	CLEANUP_FCLOSE
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static void take_away(const struct folder *f, const char *name)
{
	CLEANUP_FREE
	char *path = inside(f, name);
	assert_int_equal(remove(path), 0);
}

static void make_folder(const struct folder *f, const char *name)
{
	CLEANUP_FREE
	char *path = inside(f, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void link_to(const struct folder *f, const char *target, const char *name)
{
	CLEANUP_FREE
	char *path = inside(f, name);
	assert_int_equal(symlink(target, path), 0);
}

static void folder_end(struct folder *f)
{
	catalog_dir_free(f->dir);
	catalog_unref(f->catalog);
	buf_release(&f->problems);
	buf_release(&f->got);
	assert_int_equal(rmdir(f->path), 0);
}

// Loads, and compares profiles and problems.
static void assert_loaded(struct folder *f, const char *want, const char *problems)
{
	struct error err = {0};
	buf_clear(&f->problems);
	buf_clear(&f->got);
	struct catalog *c = catalog_dir_load(f->dir, f->catalog, note_problem, &f->problems, &err);
	assert_string_equal(err.msg, "");
	assert_non_null(c);
	catalog_unref(f->catalog);
	f->catalog = c;
	describe(c, &f->got);
	assert_string_equal(buf_z(&f->got), want);
	assert_string_equal(buf_z(&f->problems), problems);
}

// A change is told once two looks agree, and as long as it is not loaded.
static void assert_changes(struct folder *f)
{
	assert_false(catalog_dir_changed(f->dir));
	assert_true(catalog_dir_changed(f->dir));
	assert_true(catalog_dir_changed(f->dir));
}

static void assert_quiet(struct folder *f)
{
	for (int i = 0; i < 3; i++)
		assert_false(catalog_dir_changed(f->dir));
}

static void test_dir_reload(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	assert_quiet(&f);
	put(&f, "a.yaml", LOCAL("a", "http://1"));
	put(&f, "b.yml", LOCAL("b", "http://2"));
	put(&f, "c.json", "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"n\"}}");
	put(&f, "d.txt", "ignored");
	put(&f, ".e.yaml", "ignored");
	put(&f, "yaml", "ignored");
	assert_changes(&f);
	assert_loaded(&f, "sys/a http://1\nsys/b http://2\n", "");
	assert_quiet(&f);
	put(&f, "a.yaml", LOCAL("a", "http://longer"));
	assert_changes(&f);
	assert_loaded(&f, "sys/a http://longer\nsys/b http://2\n", "");
	assert_quiet(&f);
	take_away(&f, "b.yml");
	assert_changes(&f);
	assert_loaded(&f, "sys/a http://longer\n", "");
	put(&f, "d.txt", "still ignored");
	assert_quiet(&f);
	static const char *const names[] = {"a.yaml", "c.json", "d.txt", ".e.yaml", "yaml"};
	for (size_t i = 0; i < COUNT(names); i++)
		take_away(&f, names[i]);
	assert_changes(&f);
	assert_loaded(&f, "", "");
	folder_end(&f);
}

// While a file grows from look to look, nothing is taken up.
static void test_dir_settles(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	for (int i = 0; i < 5; i++) {
		CLEANUP_FREE
		char *text = xasprintf("# %0*d\n", i + 1, i);
		put(&f, "a.yaml", text);
		assert_false(catalog_dir_changed(f.dir));
	}
	assert_true(catalog_dir_changed(f.dir));
	assert_loaded(&f, "", "");
	assert_quiet(&f);
	take_away(&f, "a.yaml");
	folder_end(&f);
}

static void test_dir_half_written(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	put(&f, "a.yaml", LOCAL("a", "http://1") LOCAL("b", "http://2"));
	put(&f, "c.yaml", LOCAL("c", "http://3"));
	assert_loaded(&f, "sys/a http://1\nsys/b http://2\nsys/c http://3\n", "");
	put(&f, "a.yaml", LOCAL("a", "http://9") "spec: {a: [\n");
	put(&f, "c.yaml", LOCAL("c", "http://4"));
	assert_changes(&f);
	assert_loaded(&f, "sys/a http://1\nsys/b http://2\nsys/c http://4\n",
				  "a.yaml||a.yaml: line 7, column 1: did not find expected node content (while parsing a flow node, "
				  "from line 7)\n");
	// Still broken: it was broken when it was last read, and what it was before is still kept.
	assert_loaded(&f, "sys/a http://1\nsys/b http://2\nsys/c http://4\n",
				  "a.yaml||a.yaml: line 7, column 1: did not find expected node content (while parsing a flow node, "
				  "from line 7)\n");
	put(&f, "a.yaml", LOCAL("a", "http://5"));
	assert_loaded(&f, "sys/a http://5\nsys/c http://4\n", "");
	take_away(&f, "a.yaml");
	take_away(&f, "c.yaml");
	folder_end(&f);
}

static void test_dir_broken_from_the_start(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	put(&f, "a.yaml", "a: [\n");
	put(&f, "b.yaml", "");
	make_folder(&f, "c.yaml");
	link_to(&f, "nowhere", "d.yaml");
	assert_loaded(&f, "",
				  "a.yaml||a.yaml: line 2, column 1: did not find expected node content (while parsing a flow node, "
				  "from line 2)\n"
				  "c.yaml||@ is not a regular file; put a file there\n"
				  "d.yaml||can't open @: No such file or directory\n");
	take_away(&f, "a.yaml");
	take_away(&f, "b.yaml");
	take_away(&f, "c.yaml");
	take_away(&f, "d.yaml");
	folder_end(&f);
}

// As kubelet does it: files are links through ..data, which is renamed over to another folder.
static void test_dir_config_map_volume(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	make_folder(&f, "..1");
	make_folder(&f, "..2");
	put(&f, "..1/a.yaml", LOCAL("a", "http://1"));
	put(&f, "..2/a.yaml", LOCAL("a", "http://2"));
	link_to(&f, "..1", "..data");
	link_to(&f, "..data/a.yaml", "a.yaml");
	assert_loaded(&f, "sys/a http://1\n", "");
	assert_quiet(&f);
	link_to(&f, "..2", "..data_tmp");
	CLEANUP_FREE
	char *from = inside(&f, "..data_tmp");
	CLEANUP_FREE
	char *to = inside(&f, "..data");
	assert_int_equal(rename(from, to), 0);
	assert_changes(&f);
	assert_loaded(&f, "sys/a http://2\n", "");
	assert_quiet(&f);
	static const char *const names[] = {"..1/a.yaml", "..2/a.yaml", "..1", "..2", "..data", "a.yaml"};
	for (size_t i = 0; i < COUNT(names); i++)
		take_away(&f, names[i]);
	folder_end(&f);
}

// A profile that became bad keeps its last good state across files, too.
static void test_dir_last_good(void **state)
{
	(void)state;
	struct folder f;
	folder_begin(&f);
	put(&f, "a.yaml", LOCAL("a", "http://1"));
	assert_loaded(&f, "sys/a http://1\n", "");
	put(&f, "a.yaml", BAD(SYS, "a"));
	assert_loaded(&f, "sys/a http://1: " BAD_SAYS "\n", "a.yaml:1|sys/a|" BAD_SAYS "\n");
	assert_loaded(&f, "sys/a http://1: " BAD_SAYS "\n", "a.yaml:1|sys/a|" BAD_SAYS "\n");
	take_away(&f, "a.yaml");
	put(&f, "b.yaml", BAD(SYS, "a"));
	assert_loaded(&f, "sys/a http://1: " BAD_SAYS "\n", "b.yaml:1|sys/a|" BAD_SAYS "\n");
	take_away(&f, "b.yaml");
	folder_end(&f);
}

static void test_dir_gone(void **state)
{
	(void)state;
	struct folder f;
	struct error err = {0};
	folder_begin(&f);
	put(&f, "a.yaml", LOCAL("a", "http://1"));
	assert_loaded(&f, "sys/a http://1\n", "");
	take_away(&f, "a.yaml");
	assert_int_equal(rmdir(f.path), 0);
	// Told once, for the load that says why.
	assert_true(catalog_dir_changed(f.dir));
	assert_quiet(&f);
	assert_null(catalog_dir_load(f.dir, f.catalog, note_problem, &f.problems, &err));
	CLEANUP_FREE
	char *want =
		xasprintf("can't read folder %s: No such file or directory; --profiles names a folder of YAML files", f.path);
	assert_string_equal(err.msg, want);
	assert_int_equal(err.code, ENOENT);
	// It comes back empty: then there are no profiles any more.
	assert_int_equal(mkdir(f.path, 0755), 0);
	assert_changes(&f);
	assert_loaded(&f, "", "");
	folder_end(&f);
}

static void test_dir_limits(void **state)
{
	(void)state;
	struct folder f;
	struct error err = {0};
	folder_begin(&f);
	CLEANUP_FREE
	char *large = xcalloc(CATALOG_DIR_FILE_MAX + 2, 1);
	memset(large, '#', CATALOG_DIR_FILE_MAX + 1);
	put(&f, "large.yaml", large);
	assert_loaded(&f, "", "large.yaml||@ is larger than the 4194304 bytes that are read of such a file\n");
	take_away(&f, "large.yaml");
	char name[32];
	for (int i = 0; i <= CATALOG_DIR_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%d.yaml", i);
		link_to(&f, "nowhere", name);
	}
	assert_null(catalog_dir_load(f.dir, f.catalog, note_problem, &f.problems, &err));
	CLEANUP_FREE
	char *want = xasprintf("folder %s has more than 1000 files; merge some", f.path);
	assert_string_equal(err.msg, want);
	for (int i = 0; i <= CATALOG_DIR_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%d.yaml", i);
		take_away(&f, name);
	}
	folder_end(&f);
}

int main(void)
{
	struct tests t = {0};
	catalog_dir_free(NULL);
	catalog_unref(NULL);
	ADD_TABLE(&t, build_cases, test_build);
	ADD_TABLE(&t, reuse_cases, test_reuse);
	ADD_TABLE(&t, unread_cases, test_unread);
	tests_add(&t, "build: kept by catalog after catalog", test_kept_long, NULL);
	ADD_TABLE(&t, lookup_cases, test_lookup);
	tests_add(&t, "namespaces", test_namespaces, NULL);
	tests_add(&t, "store", test_store, NULL);
	tests_add(&t, "folder: reload", test_dir_reload, NULL);
	tests_add(&t, "folder: settles", test_dir_settles, NULL);
	tests_add(&t, "folder: half-written file", test_dir_half_written, NULL);
	tests_add(&t, "folder: broken from the start", test_dir_broken_from_the_start, NULL);
	tests_add(&t, "folder: ConfigMap volume", test_dir_config_map_volume, NULL);
	tests_add(&t, "folder: last good", test_dir_last_good, NULL);
	tests_add(&t, "folder: gone", test_dir_gone, NULL);
	tests_add(&t, "folder: limits", test_dir_limits, NULL);
	return tests_run("catalog", &t);
}
