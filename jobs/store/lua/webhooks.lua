-- Deletes a delivery.
local function forget_delivery(id)
  local status, job_id = unpack(redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'job'))
  schedule(id, nil)
  local index = P .. of(tenant_of(P .. 'delivery:' .. id), 'deliveries')
  redis.call('ZREM', index, id)
  redis.call('ZREM', index .. ':' .. status, id)
  redis.call('ZREM', P .. 'deliveries-done', id)
  redis.call('SREM', P .. 'deliveries-of:' .. job_id, id)
  redis.call('UNLINK', P .. 'delivery:' .. id)
end

function commands.add_endpoint(a)
  local tenant = a.tenant or 'default'
  local index = P .. of(tenant, 'endpoints')
  if redis.call('ZCARD', index) >= a.limit then return 'full' end
  redis.call('HSET', P .. 'endpoint:' .. a.id, 'id', a.id, 'tenant', tenant, 'url', a.url, 'events', a.events, 'secret', a.secret,
    'created_at', now)
  redis.call('ZADD', index, now, a.id)
  return 'added'
end

-- Changes an endpoint: deletes it (`delete`), sends to it again after a 410 (`enable`), or replaces its secret, the old one
-- of which also signs for `overlap_ms`.
function commands.change_endpoint(a)
  local key = P .. 'endpoint:' .. a.id
  if redis.call('EXISTS', key) == 0 or not owns(a, key) then return 'missing' end
  if a.change == 'delete' then
    redis.call('ZREM', P .. of(tenant_of(key), 'endpoints'), a.id)
    redis.call('UNLINK', key)
  elseif a.change == 'enable' then
    redis.call('HDEL', key, 'disabled_at')
  else
    redis.call('HSET', key, 'old_secret', redis.call('HGET', key, 'secret'), 'old_until', now + a.overlap_ms, 'secret', a.secret)
  end
  return 'changed'
end

-- Makes deliveries of the webhooks that a process of release 0.1 left due, which it kept as ids of jobs.
local function adopt()
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', P .. 'webhook_hosts', '-inf', now, 'LIMIT', 0, 10)) do
    local key = P .. 'webhooks:' .. host
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 10)) do
      redis.call('ZREM', key, id)
      if redis.call('EXISTS', job(id)) == 1 then announce(id) end
    end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then redis.call('ZADD', P .. 'webhook_hosts', first[2], host) else redis.call('ZREM', P .. 'webhook_hosts', host) end
  end
end

-- Leases the deliveries that are due: each with its host, the number of the claim (its fence) and of this try. `calling`
-- maps the ids that the caller is calling to their hosts: they are not due. At most `max_calls` run at once and `per_host`
-- to one host, or one to a host once half of `max_calls` run. The number of hosts looked at is bounded.
function commands.claim_deliveries(a)
  adopt()
  local due, running, busy = {}, 0, {}
  for _, host in pairs(a.calling) do
    running, busy[host] = running + 1, (busy[host] or 0) + 1
  end
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due-hosts', '-inf', now, 'LIMIT', 0, 2 * a.max_calls)) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due:' .. host, '-inf', now, 'LIMIT', 0, a.per_host)) do
      local bound = running < a.max_calls / 2 and a.per_host or 1
      if running >= a.max_calls or (busy[host] or 0) >= bound then break end
      local key, leased_until = P .. 'delivery:' .. id, now + a.lease_ms
      redis.call('HSET', key, 'leased_until', leased_until)
      schedule(id, leased_until)
      if not a.calling[id] then
        running, busy[host] = running + 1, (busy[host] or 0) + 1
        due[#due + 1] = {id, host, redis.call('HINCRBY', key, 'fence', 1), redis.call('HINCRBY', key, 'tries', 1)}
      end
    end
  end
  return due
end

-- Records the outcome of a call (delivered, retried or failed) with all attempts so far. Only the holder of the current
-- lease may. `disable` is the answer 410 Gone: the endpoint gets nothing more.
function commands.delivery_called(a)
  local key = P .. 'delivery:' .. a.id
  local fence, status, endpoint = unpack(redis.call('HMGET', key, 'fence', 'status', 'endpoint'))
  if fence ~= tostring(a.fence) or status ~= 'pending' then return 'lost' end
  redis.call('HSET', key, 'attempts', a.attempts)
  redis.call('HDEL', key, 'leased_until')
  count('webhooks:' .. a.counted)
  if a.outcome == 'retried' then schedule(a.id, now + a.delay_ms) else set_delivery(a.id, a.outcome) end
  local known = P .. 'endpoint:' .. endpoint
  if a.disable and redis.call('EXISTS', known) == 1 then redis.call('HSETNX', known, 'disabled_at', now) end
  return a.outcome
end

-- Makes a delivery due now, with all of its tries, unless a call is running.
function commands.replay(a)
  local key = P .. 'delivery:' .. a.id
  local status, endpoint, leased_until = unpack(redis.call('HMGET', key, 'status', 'endpoint', 'leased_until'))
  if not status or not owns(a, key) then return 'missing' end
  local url, disabled_at = unpack(redis.call('HMGET', P .. 'endpoint:' .. endpoint, 'url', 'disabled_at'))
  if endpoint ~= '000000000000' and (not url or disabled_at) then return 'gone' end
  if tonumber(leased_until or 0) > now then return 'replayed' end
  redis.call('HSET', key, 'tries', 0)
  set_delivery(a.id, 'pending')
  schedule(a.id, now)
  return 'replayed'
end
