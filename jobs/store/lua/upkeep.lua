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

-- Handles one step each of expired jobs, lapsed leases, due retries, records at the end of their life, and objects of
-- deleted models and collections. Returns 'again' while more is due. Any number of processes may sweep.
function commands.sweep(a)
  local more = false
  for _, round in ipairs({{'expiry', expire}, {'leases', lapse}, {'delayed', undelay}, {'done', forget}}) do
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

-- Returns the finished jobs whose webhook is due, each with the number of this try. Until `called`, the next try comes
-- after a delay that doubles, up to max_tries. `calling` maps the ids of jobs that the caller is calling to their hosts:
-- these are not due. At most `max_calls` run at once and `per_host` to one host, or one to a host once half of
-- `max_calls` run. The number of hosts looked at is bounded.
function commands.webhooks(a)
  local due, running, busy = {}, 0, {}
  for _, host in pairs(a.calling) do
    running, busy[host] = running + 1, (busy[host] or 0) + 1
  end
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', P .. 'webhook_hosts', '-inf', now, 'LIMIT', 0, 2 * a.max_calls)) do
    local key = P .. 'webhooks:' .. host
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, a.per_host)) do
      local bound = running < a.max_calls / 2 and a.per_host or 1
      if running >= a.max_calls or (busy[host] or 0) >= bound then break end
      local try = redis.call('HINCRBY', job(id), 'webhook_tries', a.calling[id] and 0 or 1)
      if try < a.max_tries or a.calling[id] then
        redis.call('ZADD', key, now + a.delay_ms * 2 ^ (try - 1), id)
      else
        redis.call('ZREM', key, id)
      end
      if not a.calling[id] then
        running, busy[host] = running + 1, (busy[host] or 0) + 1
        due[#due + 1] = {id, host, try}
      end
    end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then redis.call('ZADD', P .. 'webhook_hosts', first[2], host) else redis.call('ZREM', P .. 'webhook_hosts', host) end
  end
  return due
end

-- The receiver accepted the webhook: there are no more tries.
function commands.called(a)
  local host = webhook_host(a.id)
  return host and redis.call('ZREM', P .. 'webhooks:' .. host, a.id) or 0
end
