-- What wrk sends, and how it reports.
--
--   register TAG IDS      a registration of its own with every request; TAG is two digits, IDS a
--                         file with one identity number a line, the body's template above them
--   paths FILE            the paths of a file, one a line, in turn
--
-- Requests are put together as text, because wrk.format costs more than the request does.

local threads = 0

function setup(thread)
   thread:set("thread_number", threads)
   threads = threads + 1
end

local requests, count

local function lines_of(path)
   local lines = {}
   for line in io.lines(path) do lines[#lines + 1] = line end
   return lines
end

local function head(method, path, more)
   return method .. " " .. path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n" .. more
end

-- The template has @ID@ for the identity number, 18 characters, and @VISIT@ for the visit's
-- number, 12 digits, so that every body is as long as the first.
local function registrations(tag, path)
   local lines = lines_of(path)
   local template = table.remove(lines, 1)
   local visit_at = tag .. thread_number
   local length = #template:gsub("@ID@", lines[1]):gsub("@VISIT@", "000000000000")
   local more = "Content-Type: application/json\r\nContent-Length: " .. length .. "\r\n\r\n"
   local first = head("POST", wrk.path, more)
   -- Cut at the places to be filled: one table.concat a request.
   local parts, places, from = {}, {}, 1
   while true do
      local at, to, name = template:find("@(%u+)@", from)
      if not at then break end
      parts[#parts + 1] = template:sub(from, at - 1)
      parts[#parts + 1] = name
      if name == "ID" then places[#places + 1] = #parts else places[#places + 1] = -#parts end
      from = to + 1
   end
   parts[#parts + 1] = template:sub(from)
   parts[1] = first .. parts[1]
   local number = 0
   return function()
      number = number + 1
      local id = lines[number % #lines + 1]
      local visit = visit_at .. string.format("%09d", number)
      for _, place in ipairs(places) do
         if place > 0 then parts[place] = id else parts[-place] = visit end
      end
      return table.concat(parts)
   end
end

function init(args)
   if args[1] == "register" then
      request = registrations(args[2], args[3])
      return
   end
   requests = {}
   for _, line in ipairs(lines_of(args[2])) do
      requests[#requests + 1] = head("GET", line, "\r\n")
   end
   -- Threads begin at different places.
   count = thread_number * 7919
end

function request()
   count = count + 1
   return requests[count % #requests + 1]
end

function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      '{"requests":%d,"bytes":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,' ..
      '"errors":%d}\n',
      summary.requests, summary.bytes, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
      e.connect + e.read + e.write + e.status + e.timeout))
end
