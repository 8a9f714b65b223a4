#!/usr/bin/python3
"""Measures the webhook beside a server that answers a constant, and prints Markdown: see docs/performance.md.

    make bench                              about three minutes
    tests/bench/bench.py --quick            half a minute, rougher
    tests/bench/bench.py --json FILE        the raw numbers as well
    tests/bench/bench.py --only "12 KiB"    some of the reviews
    tests/bench/bench.py --build DIR        programs of another build than build/

Both servers run at the same time on loopback and are loaded in turn, in short rounds, so that what else the machine
does hits both; medians of the rounds are shown, and ratios are taken within a round. Nothing here passes or fails.
"""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/data/corpus/tekton"
LABEL = "pipelines.confidentialcontainers.org/confidential"
CONNECTIONS = (1, 4, 16, 64)
CONNECTIONS_LARGE = (1, 4, 16)  # 64 at once are more than the webhook takes in: it answers 503 beyond 24 MiB
THREADS = 2
STARTS = 10

PROFILE = """\
apiVersion: pipelines.confidentialcontainers.org/v1alpha1
kind: ConfidentialProfile
metadata: {name: default, namespace: coco-pipelines-system}
spec:
  initdata:
    kbs: {url: "http://kbs-service.trustee-operator-system.svc:8080"}
    agentPolicy: {preset: NoExec}
"""

# Name, review of the corpus, labelled or not.
BODIES = (
    ("8 KiB, confidential", "taskrun__single-step", True),
    ("12 KiB, confidential", "taskrun__results", True),
    ("12 KiB, not ours", "taskrun__results", False),
    ("865 KiB, confidential", "taskrun__sixty-steps", True),
)


# ---- What is needed


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}")
    return done


def make_certificate(folder):
    """A certificate for 127.0.0.1 that is its own authority."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", folder / "tls.key", "-out", folder / "tls.crt")


def make_body(folder, number, review, labelled):
    """A review as the API server sends it: compact, in UTF-8. Returns its file and uid."""
    body = json.loads((CORPUS / f"{review}.json").read_text())
    if labelled:
        body["request"]["object"]["metadata"].setdefault("labels", {})[LABEL] = "true"
    path = folder / f"body{number}.json"
    path.write_text(json.dumps(body, separators=(",", ":"), ensure_ascii=False))
    return path, body["request"]["uid"]


class Server:
    """A server that logs "serving" with its ports. Its log goes to a file, as a container's does."""

    def __init__(self, name, command, folder):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("a") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            self.ports = self.wait_for_ports()
        except BaseException:
            self.stop()
            raise

    def wait_for_ports(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if '"msg":"serving"' in line:
                    return json.loads(line)
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} does not start: {self.log.read_text()}")

    def forget_log(self):
        with self.log.open("r+") as f:
            f.truncate(0)

    def memory_kib(self):
        """(resident now, the most it ever was)"""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "VmHWM"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def webhook_command(build, folder):
    return [build / "bin/coco-webhook", "--listen", "127.0.0.1:0", "--plain-listen", "127.0.0.1:0",
            "--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key",
            "--profiles", folder / "profiles", "--threads", str(THREADS)]


def constant_command(build, folder, answer_bytes, uid):
    return [build / "tests/bench_server", "--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key",
            "--threads", str(THREADS), "--answer-bytes", str(answer_bytes), "--uid", uid]


# ---- Measuring


def one_round(build, folder, server, body, uid, connections, seconds):
    out = run(build / "tests/bench_load", "--port", str(server.ports["port"]), "--ca", folder / "tls.crt",
              "--body", body, "--uid", uid, "-c", str(connections), "-s", str(seconds),
              "--server-pid", str(server.process.pid)).stdout
    server.forget_log()
    result = json.loads(out)
    result["memory_kib"], result["peak_kib"] = server.memory_kib()
    return result


def compare(build, folder, webhook, constant, body, uid, connections, rounds, seconds):
    """Rounds in turn; returns medians of both, and of the ratio of CPU within a round."""
    results = {"webhook": [], "constant": []}
    for number in range(rounds):
        pair = [("webhook", webhook), ("constant", constant)]
        for name, server in pair if number % 2 == 0 else reversed(pair):
            results[name].append(one_round(build, folder, server, body, uid, connections, seconds))
    medians = {name: {key: statistics.median(r[key] for r in rs) for key in rs[0]} for name, rs in results.items()}
    ratio = statistics.median(w["server_cpu_us"] / c["server_cpu_us"]
                              for w, c in zip(results["webhook"], results["constant"]))
    return {"connections": connections, "cpu_ratio": ratio, **medians}


def start_to_ready_ms(build, folder):
    """From starting the program to the first 200 of /readyz."""
    begin = time.perf_counter()
    process = subprocess.Popen(webhook_command(build, folder), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for line in process.stderr:
            if b'"msg":"serving"' in line:
                url = f"http://127.0.0.1:{json.loads(line)['plainPort']}/readyz"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    answer.read()
                return (time.perf_counter() - begin) * 1000
        raise RuntimeError("coco-webhook ends at once")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def alone(build, folder, body, times):
    """handle_review() without network: microseconds, size of the answer."""
    return json.loads(run(build / "tests/bench_handle", folder / "profiles", str(times), body).stdout)


def instructions(build, folder, body, few, many):
    """Instructions of one handle_review(): what more of them take, so that start and end don't count."""
    def collected(times):
        said = run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                   build / "tests/bench_handle", folder / "profiles", str(times), body).stderr
        return int(re.search(r"Collected : (\d+)", said)[1])
    return (collected(many) - collected(few)) / (many - few)


def measure(build, folder, quick, only):
    (folder / "profiles").mkdir()
    (folder / "profiles/default.yaml").write_text(PROFILE)
    make_certificate(folder)
    has_valgrind = shutil.which("valgrind") is not None
    rounds, seconds = (3, 0.12) if quick else (5, 0.8)
    cases = []
    with contextlib.ExitStack() as stack:
        webhook = Server("webhook", webhook_command(build, folder), folder)
        stack.callback(webhook.stop)
        idle_kib = webhook.memory_kib()[0]
        for number, (name, review, labelled) in enumerate(body for body in BODIES if only in body[0]):
            print(f"# {name}", file=sys.stderr, flush=True)
            body, uid = make_body(folder, number, review, labelled)
            large = body.stat().st_size > 100_000
            handled = alone(build, folder, body, 30 if large else 3000)
            case = {"name": name, "bytes": body.stat().st_size, "handle_us": handled["us"],
                    "answer_bytes": handled["answer_bytes"], "cause": handled["cause"], "loads": []}
            if has_valgrind:
                case["instructions"] = instructions(build, folder, body, 2, 4 if large else 22)
            constant = Server(f"constant{number}", constant_command(build, folder, handled["answer_bytes"], uid),
                              folder)
            stack.callback(constant.stop)
            for connections in CONNECTIONS_LARGE if large else CONNECTIONS:
                case["loads"].append(
                    compare(build, folder, webhook, constant, body, uid, connections, rounds, seconds))
            constant.stop()
            cases.append(case)
        rss, peak = webhook.memory_kib()
    starts = [start_to_ready_ms(build, folder) for _ in range(3 if quick else STARTS)]
    return {"cases": cases, "idle_kib": idle_kib, "rss_kib": rss, "peak_kib": peak,
            "start_ms": statistics.median(starts), "valgrind": has_valgrind,
            "rounds": rounds, "round_seconds": seconds, "threads": THREADS}


# ---- Saying it


def cpu_model():
    found = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown processor"


def print_table(result):
    print("| Review | Connections | Webhook: requests/s | p50 | p99 | Constant: requests/s | p50 | p99 "
          "| CPU, webhook | CPU, constant | Ratio | RSS |")
    print("|---|" + "---:|" * 11)
    for case in result["cases"]:
        for load in case["loads"]:
            w, c = load["webhook"], load["constant"]
            print(f"| {case['name']} | {load['connections']} "
                  f"| {w['rps']:.0f} | {w['p50_us']:.0f} us | {w['p99_us']:.0f} us "
                  f"| {c['rps']:.0f} | {c['p50_us']:.0f} us | {c['p99_us']:.0f} us "
                  f"| {w['server_cpu_us']:.1f} us | {c['server_cpu_us']:.1f} us "
                  f"| {load['cpu_ratio']:.2f} | {w['memory_kib'] / 1024:.1f} MiB |")


def print_alone(result):
    print("| Review | Bytes | Answer | Decision alone | Instructions |")
    print("|---|" + "---:|" * 4)
    for case in result["cases"]:
        count = f"{case['instructions']:,.0f}" if "instructions" in case else "not counted: no valgrind"
        print(f"| {case['name']} | {case['bytes']} | {case['answer_bytes']} | {case['handle_us']:.1f} us | {count} |")


def main():
    parser = argparse.ArgumentParser(description="Measures coco-webhook beside a constant answer.")
    parser.add_argument("--quick", action="store_true", help="half a minute, rougher")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the raw numbers here")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, default=ROOT / "build", help="where programs are")
    parser.add_argument("--only", metavar="TEXT", default="", help="only reviews whose name contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coco-bench-") as folder:
        result = measure(options.build, pathlib.Path(folder), options.quick, options.only)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{cpu_model()}, medians of {result['rounds']} rounds of "
          f"{result['round_seconds']} s, {result['threads']} server threads.\n")
    print_table(result)
    print()
    print_alone(result)
    print(f"\nResident memory: {result['idle_kib'] / 1024:.1f} MiB when started, {result['rss_kib'] / 1024:.1f} MiB "
          f"after all of this, {result['peak_kib'] / 1024:.1f} MiB at most. "
          f"From start to ready: {result['start_ms']:.0f} ms.")


if __name__ == "__main__":
    main()
