-- Presses Buy: every request of every thread has a user of its own. Arguments after `--`:
--   1 first user id · 2 product · 3 share of requests (per thousand) that go to one of 4 products
--   evenly · 4 how many products · 5 share (per thousand) that come from one of 6 owners evenly ·
--   6 how many owners, users 1 to that number
-- Prints one line of JSON at the end, `RESULT {…}`: percentiles in microseconds.
-- No response() here: wrk would build every answer's headers in Lua, and measure itself.

local threads = 0

function setup(thread)
  thread:set('thread_number', threads)
  threads = threads + 1
end

function init(args)
  next_user = tonumber(args[1]) + thread_number * 100000000
  hot = tonumber(args[2])
  spread, products = tonumber(args[3] or 0), tonumber(args[4] or 1)
  owned, owners = tonumber(args[5] or 0), tonumber(args[6] or 1)
  math.randomseed(thread_number + 1)
  head = 'POST /api/buy HTTP/1.1\r\nHost: ' .. wrk.headers['Host'] ..
    '\r\nContent-Type: application/json\r\nContent-Length: '
end

function request()
  local user, product = next_user, hot
  next_user = next_user + 1
  if spread > 0 and math.random(1000) <= spread then product = math.random(products) end
  if owned > 0 and math.random(1000) <= owned then user = math.random(owners) end
  local body = string.format('{"user_id":%.0f,"product_id":%d}', user, product)
  return head .. #body .. '\r\n\r\n' .. body
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests":%d,"micros":%d,"not_2xx":%d,"broken":%d,' ..
    '"timeouts":%d,"p50":%.0f,"p99":%.0f,"p999":%.0f,"max":%.0f}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
