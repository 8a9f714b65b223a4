#!/usr/bin/python3
"""Runs the test suites, each a program that prints TAP, and ends with one line: N passed, N failed.

    tests/run.py [--quick] [NAME...]     NAME: only suites whose name contains it; --quick: none that needs an API server

A suite fails as a whole, beside its failed cases, where it prints fewer results than it planned, exits with another
status than its results say, or takes longer than its limit. Everything that a suite prints is in build/test-logs/.
As many suites run at once as there are processors, at most four; COCO_TEST_JOBS says otherwise.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "test-logs"
ASAN = "build/asan"
TSAN = "build/tsan"
NEED_CLUSTER = ("e2e/", "kube/")
RUNNING = set()  # suites' processes
JOBS = int(os.environ.get("COCO_TEST_JOBS", min(os.cpu_count() or 1, 4)))  # suites at once
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "CMOCKA_MESSAGE_OUTPUT": "TAP",
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:suppressions=tests/tsan.supp",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def suites(python):
    """(name, command, seconds that it may take); python is the one with the packages of tests/requirements.txt. A suite may
    take four times what it takes while another one runs beside it."""
    system = "/usr/bin/python3"
    cocopipe, webhook = f"{ASAN}/bin/cocopipe", f"{ASAN}/bin/coco-webhook"
    for program in sorted((ROOT / "tests/unit").glob("test_*.c")):
        yield f"unit/{program.stem}", [f"{ASAN}/tests/unit/{program.stem}"], 300
        if "pthread" in program.read_text():  # as hack/run-tests.sh finds what to build
            yield f"unit-tsan/{program.stem}", [f"{TSAN}/tests/unit/{program.stem}"], 240
    for program in sorted((ROOT / "tests/fuzz").glob("fuzz_*.c")):
        name = program.stem.removeprefix("fuzz_")
        yield f"fuzz-replay/{name}", [f"{ASAN}/tests/fuzz/{program.stem}", f"tests/fuzz/corpus/{name}"], 300
    yield "oracle/toml", [python, "tests/oracle/test_toml_oracle.py", f"{ASAN}/tests/convert"], 180
    yield "oracle/yaml", [python, "tests/oracle/test_yaml_oracle.py", f"{ASAN}/tests/convert"], 180
    yield "policy/agent", [python, "tests/policy/test_policies.py"], 120
    yield "policy/trustee", [python, "tests/policy/test_trustee_policies.py", f"{ASAN}/tests/policy_text"], 600
    yield "golden", [python, "tests/golden/run.py", cocopipe], 120
    yield "docs", [python, "tests/docs/test_docs.py", f"{ASAN}/bin"], 120
    yield "cli", [python, "tests/cli/test_cli.py", cocopipe], 180
    yield "cli-docs", [python, "tests/cli/test_docs.py", cocopipe], 180
    yield "cli-seal", [python, "tests/cli/test_seal.py", cocopipe], 300
    yield "cli-render", [python, "tests/cli/test_render.py", cocopipe], 500
    yield "corpus", [python, "tests/corpus/test_corpus.py", cocopipe, webhook], 500
    yield "hostile", [python, "tests/corpus/test_hostile.py", webhook, "build/bin/coco-webhook"], 300
    yield "http/asan", [system, "tests/http/test_http_server.py", f"{ASAN}/tests/echo_server"], 300
    yield "http/tsan", [system, "tests/http/test_http_server.py", f"{TSAN}/tests/echo_server"], 300
    yield "kube/client", [system, "tests/kube/test_client.py", f"{ASAN}/tests/kube_call"], 600
    yield "kube/client-tsan", [system, "tests/kube/test_client.py", f"{TSAN}/tests/kube_call", "-k", "threads"], 300
    yield "kube/fault-proxy", [system, "tests/kube/test_fault_proxy.py"], 300
    yield "kube/lease", [system, "tests/kube/test_lease.py", f"{ASAN}/tests/lease_probe"], 600
    yield "kube/watch", [system, "tests/kube/test_watch.py", f"{ASAN}/tests/watch_probe"], 600
    yield "kube/watch-tsan", [system, "tests/kube/test_watch.py", f"{TSAN}/tests/watch_probe"], 600
    yield "kube/informer", [system, "tests/kube/test_informer.py", f"{ASAN}/tests/informer_probe"], 900
    yield "kube/informer-tsan", [system, "tests/kube/test_informer.py", f"{TSAN}/tests/informer_probe"], 900
    yield "images", [python, "tests/images/test_images.py", "build/bin"], 500
    yield "policy/admission", [python, "tests/manifests/test_policy.py", cocopipe], 300
    yield "kube/manifests", [python, "tests/manifests/test_manifests.py"], 300
    yield "kube/rights", [python, "tests/manifests/test_rights.py"], 120
    yield "samples", [python, "tests/manifests/test_samples.py", cocopipe], 300
    yield "kube/monitoring", [python, "tests/monitoring/test_monitoring.py"], 300
    yield "kube/helm", [python, "tests/manifests/test_helm.py"], 300
    yield "kube/olm", [python, "tests/manifests/test_olm.py"], 120
    yield "e2e/cluster", [system, "tests/e2e/test_cluster.py"], 600
    yield "e2e/webhook", [system, "tests/e2e/test_webhook.py", "build/bin/coco-webhook", "build/bin/cocopipe"], 900
    yield "e2e/kbs-render", [system, "tests/e2e/test_kbs_render.py"], 500
    yield "e2e/trustee-crds", [system, "tests/e2e/test_trustee_crds.py", "build/bin/coco-webhook"], 500
    yield "e2e/certificates", [system, "tests/e2e/test_certificates.py", "build/bin/coco-webhook"], 900
    render = [f"build/bin/{program}" for program in ("coco-controller", "cocopipe")]
    yield "e2e/render", [system, "tests/e2e/test_render.py", *render], 600
    live = [f"build/bin/{program}" for program in ("coco-webhook", "coco-controller", "cocopipe")]
    yield "e2e/trustee", [system, "tests/e2e/test_trustee.py", "build/bin/coco-controller"], 1000
    yield "e2e/trustee-faults", [system, "tests/e2e/test_trustee_faults.py", "build/bin/coco-controller"], 1000
    yield "e2e/trustee-kills", [system, "tests/e2e/test_trustee_kills.py", "build/bin/coco-controller"], 1000
    yield "e2e/trustee-drift", [system, "tests/e2e/test_trustee_drift.py", "build/bin/coco-controller"], 600
    pods = ("coco-webhook", "coco-controller")
    yield "e2e/node", [system, "tests/e2e/test_node.py"], 300
    yield "e2e/install", [system, "tests/e2e/test_install.py", *(f"{ASAN}/bin/{program}" for program in pods)], 500
    yield "e2e/rollout", [system, "tests/e2e/test_rollout.py", *(f"build/bin/{program}" for program in pods)], 500
    yield "e2e/samples", [system, "tests/e2e/test_samples.py", *(f"build/bin/{program}" for program in pods)], 500
    yield "e2e/observability", [system, "tests/e2e/test_observability.py", *live[:2]], 400
    yield "e2e/live", [system, "tests/e2e/test_live.py", *live], 1200


def run(name, command, limit):
    """Returns (text, exit status or None for too late)."""
    log = LOGS / (name.replace("/", "-") + ".log")
    with open(log, "wb") as out:
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT, start_new_session=True,
            )
        except OSError as e:
            return f"not ok 1 - can't start {command[0]}: {e.strerror}\n", 1
        RUNNING.add(process)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            status = None
        RUNNING.discard(process)
    return log.read_text(errors="replace"), status


def judge(name, text, status, limit):
    """Returns (passed, list of what failed)."""
    passed = len(re.findall(r"^ok ", text, re.M))
    failed = [line.removeprefix("not ok ") for line in re.findall(r"^not ok .*", text, re.M)]
    plans = re.findall(r"^1\.\.(\d+)", text, re.M)
    planned = sum(int(n) for n in plans)
    if status is None:
        failed.append(f"{name} took more than {limit} s")
    elif not plans or planned != passed + len(failed):
        failed.append(f"{name} planned {planned} results and printed {passed + len(failed)} (exit status {status})")
    elif status != 0 and not failed:
        failed.append(f"{name} exited with status {status}, though no result failed")
    return passed, failed


def show_failure(name, text):
    shown = [line for line in text.splitlines() if not line.startswith("ok ")]
    for line in shown[-60:]:
        print(f"      {line}")
    print(f"      (all of it: build/test-logs/{name.replace('/', '-')}.log)", flush=True)


def one(name, command, limit):
    """Runs a suite; returns (name, text, passed, failed, seconds)."""
    start = time.monotonic()
    text, status = run(name, command, limit)
    passed, failed = judge(name, text, status, limit)
    return name, text, passed, failed, time.monotonic() - start


def stop(number, _):
    """Whoever stops us stops what we have started."""
    for process in list(RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in list(RUNNING):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
    os._exit(128 + number)


def main():
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    wanted = [a for a in arguments if a != "--quick"]
    # Without it, the suites that need it fail, by its name; the others still run.
    made = subprocess.run(["hack/pyenv.sh"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    python = made.stdout.strip() if made.returncode == 0 else "(the Python of hack/pyenv.sh, which failed)"
    LOGS.mkdir(parents=True, exist_ok=True)
    chosen = [
        suite for suite in suites(python)
        if not (quick and suite[0].startswith(NEED_CLUSTER)) and (not wanted or any(w in suite[0] for w in wanted))
    ]
    total_passed, total_failed = 0, []
    # The longest first, so that the last one to end doesn't start last.
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for done in concurrent.futures.as_completed([pool.submit(one, *s) for s in sorted(chosen, key=lambda s: -s[2])]):
            name, text, passed, failed, took = done.result()
            print(f"{'FAIL' if failed else 'ok  '}  {name:<28} {passed:5} passed {len(failed):3} failed {took:7.1f} s", flush=True)
            if failed:
                show_failure(name, text)
            total_passed += passed
            total_failed += [f"{name}: {f}" for f in failed]
    if total_passed + len(total_failed) == 0:
        total_failed.append("no suite ran")
    if total_failed:
        print("\nFailed:")
    for f in total_failed:
        print(f"  {f}")
    print(f"{total_passed} passed, {len(total_failed)} failed")
    return 1 if total_failed else 0


if __name__ == "__main__":
    sys.exit(main())
