-- SPDX-License-Identifier: MIT
-- For wrk: asks a proxy for BENCH_URL, and prints what it counted as JSON.
wrk.method = "GET"
wrk.path = os.getenv("BENCH_URL")
wrk.headers["Host"] = os.getenv("BENCH_HOST")

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "bytes": %d, "seconds": %.6f, "errors": %d, ' ..
      '"error": "connect %d, read %d, write %d, status %d, timeout %d", ' ..
      '"p50_us": %.1f, "p99_us": %.1f, "p999_us": %.1f, "max_us": %.1f}\n',
      summary.requests, summary.bytes, summary.duration / 1e6,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
