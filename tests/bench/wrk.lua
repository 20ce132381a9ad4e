-- For wrk: each argument is "METHOD PATH"; they are asked in turn. Ends with one line of JSON, the
-- latencies in microseconds.

local asked = {}
local turn = 0

function init(arguments)
    for _, argument in ipairs(arguments) do
        local method, path = argument:match("^(%u+) (.+)$")
        asked[#asked + 1] = wrk.format(method, path)
    end
end

function request()
    turn = turn % #asked + 1
    return asked[turn]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "failures": %d, "seconds": %.6f, "p50": %d, "p99": %d}\n',
        summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
