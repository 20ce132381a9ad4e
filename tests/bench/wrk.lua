-- For wrk: the first argument is the number of its threads, each further one "METHOD PATH". Each
-- thread asks its share of them in turn, of two threads the first one takes the first, the third, and
-- so on; where there are fewer than threads, each asks all. Ends with one line of JSON, the latencies
-- in microseconds; refused: answers with a status of 400 and more.

local started = 0

function setup(thread)
    thread:set("number", started)
    started = started + 1
end

local asked = {}
local turn = 0

function init(arguments)
    local threads = tonumber(arguments[1])
    local count = #arguments - 1
    for place = 1, count do
        if count < threads or (place - 1) % threads == number then
            local method, path = arguments[place + 1]:match("^(%u+) (.+)$")
            asked[#asked + 1] = wrk.format(method, path)
        end
    end
end

function request()
    turn = turn % #asked + 1
    return asked[turn]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "failures": %d, "refused": %d, "seconds": %.6f, "p50": %d, "p99": %d}\n',
        summary.requests, errors.connect + errors.read + errors.write + errors.timeout, errors.status,
        summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
