-- Stores the heartbeat of a process of a sort (worker or upkeep), and deletes those older than a day. What a worker
-- reports of its models is 85 KB, and the same for all workers of an installation: it is stored once, under its sha256.
-- Returns 'send' where that is missing or an hour old.
function commands.beat(a)
  redis.call('ZADD', P .. a.sort .. 's', now, a.name)
  redis.call('ZREMRANGEBYSCORE', P .. a.sort .. 's', '-inf', now - DAY_MS)
  if not a.report then
    redis.call('SET', P .. a.sort .. ':' .. a.name, a.facts, 'PX', DAY_MS)
    return 'beaten'
  end
  redis.call('SET', P .. 'state:' .. a.name, a.facts, 'PX', 15000) -- longer than a process may be silent
  redis.call('ZADD', P .. 'reports', now, a.report)
  redis.call('ZREMRANGEBYSCORE', P .. 'reports', '-inf', now - DAY_MS)
  if a.models then
    redis.call('SET', P .. 'report:' .. a.report, a.models, 'PX', 2 * DAY_MS)
    redis.call('SET', P .. 'worker:' .. a.name, a.whole, 'PX', DAY_MS) -- for an API of an earlier release
  end
  local oldest = DAY_MS - 3600000
  local fresh = redis.call('PTTL', P .. 'worker:' .. a.name) > oldest and redis.call('PTTL', P .. 'report:' .. a.report) > oldest
  return fresh and 'beaten' or 'send'
end

-- Returns the processes of a sort with a heartbeat in the last silence_ms, each with the facts it reported.
function commands.living(a)
  local living = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. a.sort .. 's', now - a.silence_ms, '+inf')) do
    local facts = a.sort == 'worker' and redis.call('GET', P .. 'state:' .. name)
    facts = facts or redis.call('GET', P .. a.sort .. ':' .. name)
    if facts then living[#living + 1] = {name, facts} end
  end
  return living
end

-- Returns the sha256 of what workers reported of their models in the last silence_ms, the newest last.
function commands.reports(a)
  return redis.call('ZRANGEBYSCORE', P .. 'reports', now - a.silence_ms, '+inf')
end

-- Returns, for each queue, for how long (ms) the first or last job of a tenant has waited, whichever is oldest, and how long ago a job
-- was claimed; the number of leases, and of those that ran out more than overdue_ms ago. With `write` it writes to test
-- that writes work.
function commands.vitals(a)
  if a.write then redis.call('SET', P .. 'vitals', now, 'PX', DAY_MS) end
  local found = {}
  for i, queue in ipairs(a.queues) do
    local since = now
    for _, tenant in ipairs(queues.tenants(queue)) do
      for _, edge in ipairs({0, -1}) do
        local id = queues.ids(tenant.name, queue, edge, edge)[1]
        if id then since = math.min(since, tonumber(get(id, 'created_at'))) end
      end
    end
    found[i] = {now - since, now - tonumber(redis.call('HGET', P .. 'claimed', queue) or 0)}
  end
  return {found, redis.call('ZCARD', P .. 'leases'), redis.call('ZCOUNT', P .. 'leases', '-inf', now - a.overdue_ms)}
end
