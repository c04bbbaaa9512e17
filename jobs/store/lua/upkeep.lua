-- Ends a lease that was not renewed: the job gets another attempt, or fails after max_attempts, unless the last attempt
-- was part of a batch.
local function lapse(id, a)
  local status, attempt, fruitful, batch = all(id, 'status', 'attempt', 'fruitful', 'batch')
  local fruitless = attempt - (fruitful or 0)
  if status == 'canceling' then
    close(id, 'canceled')
  elseif fruitless >= a.max_attempts and tonumber(batch or 1) == 1 then
    close(id, 'failed', cjson.encode({code = 'worker_lost', details = {attempts = fruitless},
      message = 'The worker stopped or lost its connection in each of ' .. fruitless .. ' attempts.'}))
  else
    requeue(id, a.retry_delay_ms * 2 ^ (fruitless - 1))
  end
end

local function undelay(id)
  redis.call('ZREM', P .. 'delayed', id)
  queues.add(id)
end

-- Handles one step each of expired jobs, lapsed leases, due retries, records and
-- deliveries at the end of their life, and objects of
-- deleted models and collections. Returns 'again' while more is due. Any number of processes may sweep.
function commands.sweep(a)
  local more = false
  for _, round in ipairs({{'expiry', expire}, {'leases', lapse}, {'delayed', undelay}, {'done', forget},
    {'deliveries-done', forget_delivery}}) do
    local ids, objects = due(round[1]), 0
    more = more or #ids == STEP
    for _, id in ipairs(ids) do
      objects = objects + (round[2](id, a) or 0)
      if objects > 10 * STEP then
        more = true
        break
      end
    end
  end
  local who = redis.call('SRANDMEMBER', P .. 'dropping')
  if who then drop(who) end
  return (more or who) and 'again' or 'swept'
end
