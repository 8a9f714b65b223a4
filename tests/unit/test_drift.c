#include "cases.h"
#include "common/trustee.h"
#include "controller/drift.h"
#include "controller/rendered.h"

#define APPLIED "pipelines.confidentialcontainers.org/applied"
#define WITH(version, data) \
	"{\"metadata\": {\"annotations\": {\"" APPLIED "\": \"" version "\"}}, \"data\": {" data "}}"

static const char wanted[] = WITH("one", "\"a\": \"1\"");

struct drift_case {
	const char *name;
	const char *live; // NULL: there is none
	bool settled;
	enum drift_verdict enforce, warn, off;
	const char *where;
};

static struct drift_case cases[] = {
	{"as rendered", WITH("one", "\"a\": \"1\""), true, DRIFT_NONE, DRIFT_NONE, DRIFT_NONE, ""},
	{"others' fields beside ours", WITH("one", "\"a\": \"1\", \"b\": \"2\""), true, DRIFT_NONE, DRIFT_NONE, DRIFT_NONE,
	 ""},
	{"not there yet", NULL, false, DRIFT_NEW, DRIFT_NEW, DRIFT_NEW, ""},
	{"deleted", NULL, true, DRIFT_REPAIR, DRIFT_REPORT, DRIFT_NONE, ""},
	{"something else is rendered now", WITH("zero", "\"a\": \"1\""), true, DRIFT_NEW, DRIFT_NEW, DRIFT_NEW, ""},
	{"made by somebody else", "{\"metadata\": {}}", true, DRIFT_NEW, DRIFT_NEW, DRIFT_NEW, ""},
	{"a value changed", WITH("one", "\"a\": \"2\""), true, DRIFT_REPAIR, DRIFT_REPORT, DRIFT_NONE, "data.a"},
	{"a value removed", WITH("one", ""), false, DRIFT_REPAIR, DRIFT_REPORT, DRIFT_NONE, "data.a"},
};

static void test_judge(void **state)
{
	const struct drift_case *c = *state;
	const enum drift_verdict verdicts[] = {[DRIFT_ENFORCE] = c->enforce, [DRIFT_WARN] = c->warn, [DRIFT_OFF] = c->off};
	json_auto_t *want = json_loads(wanted, 0, NULL);
	json_auto_t *live = c->live != NULL ? json_loads(c->live, 0, NULL) : NULL;
	for (int policy = DRIFT_ENFORCE; policy <= DRIFT_OFF; policy++) {
		CLEANUP_BUF struct buf where = BUF_INIT(1024);
		assert_int_equal(drift_judge(live, want, policy, c->settled, &where), verdicts[policy]);
		assert_text(buf_z(&where), c->where);
	}
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, cases, test_judge);
	return tests_run("drift", &t);
}
