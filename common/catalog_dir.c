#include "common/catalog_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/mem.h"
#include "common/yaml.h"

struct file {
	char *name;
	struct file_mark mark;
	struct catalog_documents docs; // as they last could be read
};

struct listing {
	struct file *v; // sorted by name
	size_t n;
};

struct catalog_dir {
	char *path;
	char *system_ns;
	bool missing; // at the last look
	struct listing loaded;
	struct listing seen; // at the last look; no documents
	bool has_seen;       // there was a last look, and the folder could be read
};

static void free_file(struct file *f)
{
	free(f->name);
	catalog_documents_release(&f->docs);
}

static void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free_file(&l->v[i]);
	free(l->v);
	*l = (struct listing){0};
}

struct catalog_dir *catalog_dir_new(const char *path, const char *system_ns)
{
	struct catalog_dir *d = xcalloc(1, sizeof(*d));
	d->path = xstrdup(path);
	d->system_ns = xstrdup(system_ns);
	return d;
}

void catalog_dir_free(struct catalog_dir *d)
{
	if (d == NULL)
		return;
	listing_release(&d->loaded);
	listing_release(&d->seen);
	free(d->path);
	free(d->system_ns);
	free(d);
}

bool catalog_dir_is_document(const char *name)
{
	const char *dot = strrchr(name, '.');
	// A ConfigMap's volume has hidden folders of its own.
	return name[0] != '.' && dot != NULL &&
		   (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static int by_name(const void *a, const void *b)
{
	const struct file *x = a;
	const struct file *y = b;
	return strcmp(x->name, y->name);
}

static void cleanup_closedir(DIR **dir)
{
	if (*dir != NULL)
		(void)closedir(*dir);
}

static int list_files(const char *path, struct listing *ret, struct error *err)
{
	struct listing l = {0};
	CLEANUP(cleanup_closedir) DIR *dir = opendir(path);
	if (dir == NULL)
		return error_set(err, errno, "can't read folder %s: %s; --profiles names a folder of YAML files", path,
						 strerror(errno));
	errno = 0;
	for (const struct dirent *e; (e = readdir(dir)) != NULL; errno = 0) {
		if (!catalog_dir_is_document(e->d_name))
			continue;
		if (l.n == CATALOG_DIR_FILES_MAX) {
			listing_release(&l);
			return error_set(err, E2BIG, "folder %s has more than %d files; merge some", path, CATALOG_DIR_FILES_MAX);
		}
		CLEANUP_FREE
		char *full = xasprintf("%s/%s", path, e->d_name);
		l.v = xreallocarray(l.v, l.n + 1, sizeof(*l.v));
		l.v[l.n++] = (struct file){.name = xstrdup(e->d_name), .mark = file_mark(full)};
	}
	int failed = errno;
	if (failed != 0) {
		listing_release(&l);
		return error_set(err, failed, "can't read folder %s to its end: %s", path, strerror(failed));
	}
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l;
	return 0;
}

static bool same(const struct listing *a, const struct listing *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].name, b->v[i].name) != 0 || !file_mark_equal(&a->v[i].mark, &b->v[i].mark))
			return false;
	return true;
}

bool catalog_dir_changed(struct catalog_dir *d)
{
	struct error err;
	struct listing now = {0};
	bool read = list_files(d->path, &now, &err) == 0;
	// Told once, by the load that then fails: what was loaded stays in force, whether it is gone for a moment or for good.
	bool went = !read && !d->missing;
	d->missing = !read;
	bool settled = read && d->has_seen && same(&now, &d->seen);
	listing_release(&d->seen);
	d->seen = now;
	d->has_seen = read;
	return went || (settled && !same(&now, &d->loaded));
}

void catalog_documents_release(struct catalog_documents *docs)
{
	for (size_t i = 0; i < docs->n; i++) {
		json_decref(docs->v[i].object);
		free(docs->v[i].origin);
	}
	free(docs->v);
	*docs = (struct catalog_documents){0};
}

static void append(struct catalog_documents *docs, json_t *object, char *origin)
{
	docs->v = xreallocarray(docs->v, docs->n + 1, sizeof(*docs->v));
	docs->v[docs->n++] = (struct catalog_document){.object = json_incref(object), .origin = origin};
}

int catalog_documents_read(struct catalog_documents *docs, struct str text, const char *name, struct error *err)
{
	CLEANUP_YAML_DOCS struct yaml_docs yaml = {0};
	if (yaml_read(text, &yaml, err) < 0)
		return error_prefix(err, "%s", name);
	for (size_t i = 0; i < yaml.n; i++) {
		json_t *items = json_object_get(yaml.v[i].root, "items"); // of a v1 List
		if (!json_is_array(items)) {
			append(docs, yaml.v[i].root, xasprintf("%s:%zu", name, yaml.v[i].line));
			continue;
		}
		for (size_t k = 0; k < json_array_size(items); k++)
			append(docs, json_array_get(items, k), xasprintf("%s:%zu, item %zu", name, yaml.v[i].line, k));
	}
	return 0;
}

static int read_documents(const struct catalog_dir *d, struct file *f, struct error *err)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(CATALOG_DIR_FILE_MAX);
	CLEANUP_FREE
	char *path = xasprintf("%s/%s", d->path, f->name);
	if (file_read_regular(path, &text, err) < 0)
		return -err->code;
	return catalog_documents_read(&f->docs, buf_str(&text), f->name, err);
}

static void keep_old_documents(struct catalog_dir *d, struct file *f)
{
	for (size_t i = 0; i < d->loaded.n; i++) {
		struct file *old = &d->loaded.v[i];
		if (strcmp(old->name, f->name) != 0)
			continue;
		catalog_documents_release(&f->docs);
		f->docs = old->docs;
		old->docs = (struct catalog_documents){0};
	}
}

int catalog_dir_read(struct catalog_dir *d, catalog_problem_fn problem, void *ctx, struct error *err)
{
	struct listing now = {0};
	if (list_files(d->path, &now, err) < 0)
		return -err->code;
	for (size_t i = 0; i < now.n; i++) {
		struct error bad;
		if (read_documents(d, &now.v[i], &bad) < 0) {
			problem(ctx, now.v[i].name, "", bad.msg);
			keep_old_documents(d, &now.v[i]);
		}
	}
	listing_release(&d->loaded);
	d->loaded = now;
	return 0;
}

void catalog_dir_append(const struct catalog_dir *d, struct catalog_document **docs, size_t *n)
{
	for (size_t i = 0; i < d->loaded.n; i++) {
		const struct catalog_documents *of = &d->loaded.v[i].docs;
		*docs = xreallocarray(*docs, *n + of->n + 1, sizeof(**docs));
		if (of->n > 0)
			memcpy(*docs + *n, of->v, of->n * sizeof(**docs));
		*n += of->n;
	}
}

struct catalog *catalog_dir_load(struct catalog_dir *d, const struct catalog *previous, catalog_problem_fn problem,
								 void *ctx, struct error *err)
{
	if (catalog_dir_read(d, problem, ctx, err) < 0)
		return NULL;
	CLEANUP_FREE
	struct catalog_document *all = NULL;
	size_t n = 0;
	catalog_dir_append(d, &all, &n);
	return catalog_build(all, n, d->system_ns, previous, problem, ctx);
}
