-- The requests of the four jobs, for wrk: wrk ... -- JOB ACCOUNTS PREFIX. ACCOUNTS is a file with an id, a token and a username on
-- each line; PREFIX makes the names of those who register new.
local job, prefix
local accounts = {}
local threads, n = 0, 0
local json = { ["Content-Type"] = "application/json" }

function setup(thread)
  threads = threads + 1
  thread:set("thread", threads)
end

function init(args)
  job, prefix = args[1], args[3]
  for line in io.lines(args[2]) do
    local id, token, name = line:match("(%S+) (%S+) (%S+)")
    accounts[#accounts + 1] = { path = "/api/v1/users/" .. id .. "/", token = "Token " .. token, name = name }
  end
  n = thread * 389
end

local password = '","password":"Correct-Horse-9"}'

function request()
  n = n + 1
  local a = accounts[n % #accounts + 1]
  if job == "profile" then
    return wrk.format("GET", a.path, { Authorization = a.token })
  elseif job == "patch" then
    return wrk.format("PATCH", a.path, { Authorization = a.token, ["Content-Type"] = "application/json" },
      '{"first_name":"Richard ' .. n .. '","last_name":"Hendriks"}')
  elseif job == "login" then
    return wrk.format("POST", "/api-token-auth/", json, '{"username":"' .. a.name .. password)
  end
  return wrk.format("POST", "/api/v1/users/", json, '{"username":"' .. prefix .. thread .. "." .. n ..
    '","first_name":"Richard","last_name":"Hendriks","email":"richard@piedpiper.com' .. password)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
