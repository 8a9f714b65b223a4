// The Kata agent policy that initdata carries: our presets, and what can be told of anybody's. PURE
#ifndef COCO_COMMON_AGENT_POLICY_H
#define COCO_COMMON_AGENT_POLICY_H

#include <stdbool.h>

#include "common/str.h"

enum agent_policy_preset { AGENT_POLICY_NO_EXEC, AGENT_POLICY_ALLOW_ALL, AGENT_POLICY_STRICT };

// "NoExec", "AllowAll", "Strict", in the enum's order; ends in NULL.
extern const char *const agent_policy_preset_names[];

// The preset's Rego text; static.
struct str agent_policy_text(enum agent_policy_preset preset);

enum agent_policy_default { POLICY_UNDEFINED, POLICY_FALSE, POLICY_TRUE };

// What a policy says of a rule by `default NAME := ...` or, without a condition, `NAME := true`. This reads lines, it does
// not evaluate Rego: a rule may be granted under conditions on top of that.
enum agent_policy_default agent_policy_default(struct str rego, const char *rule) __attribute__((nonnull));

// Whether exec is open by default: then a debug container is no worse. Absent text is the guest image's own policy,
// which allows everything in stock images.
bool agent_policy_allows_exec(struct str rego);

#endif
