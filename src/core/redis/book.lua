-- luacheck: std lua51, read globals redis, max line length 120
--
-- Books the GPU time of one job in a ledger, once. The body of a function: script-text.ts and the ledger's own script call
-- it. Its arguments are those keys of the ledger, then what is booked. See usage-keys.ts.
--
-- The key of a job has what was booked: 1 if that is final, the milliseconds, and the day.
local job, all, day, day_before, client, gpu_time, is_final, ending, today, yesterday, keep_job, keep_day = ...
local call, text = redis.call, function(number) return string.format('%.0f', number) end
local booked = call('GET', job)
local change, booked_on = gpu_time, today
if booked then
  local was_final, was, on = string.match(booked, '^(%d) (%d+) (.+)$')
  if was_final == '1' or is_final == 0 then return end
  change, booked_on, ending = gpu_time - was, on, 0
end
-- A day that is older than these is not corrected any more.
local rows = { all, booked_on == today and day or booked_on == yesterday and day_before or nil }
-- If one of them is no hash, the job is not marked as booked.
for _, key in ipairs(rows) do call('HLEN', key) end
-- First what makes a repeated call harmless.
call('SET', job, is_final .. ' ' .. text(gpu_time) .. ' ' .. booked_on, 'PX', text(keep_job))
local figure = ending == 1 and 'jobsFinished ' or ending == 2 and 'jobsAborted ' or nil
for _, key in ipairs(rows) do
  if change ~= 0 then call('HINCRBY', key, 'gpuTime ' .. client, text(change)) end
  if figure then call('HINCRBY', key, figure .. client, 1) end
  if key ~= all then call('PEXPIRE', key, text(keep_day)) end
end
