-- Queues and the turns of tenants. Each tenant has a queue of its own by each name; priority and waiting count within it.
-- Claims go round the tenants with queued jobs by start-time fair queuing (Goyal et al. 1996): the tenant with the lowest
-- virtual time is next, and each of its jobs that is claimed adds 1 / weight (in millionths, so that sums are exact). A tenant that comes back starts at the time
-- of the last claim, so it neither saves up turns nor waits for the jobs of others that came before.

-- Virtual times have many digits, of which tostring writes 14.
local function exact(number) return string.format('%.0f', number) end
local AHEAD = 50 -- how many jobs of a tenant an estimate reads
local function key_of(tenant, queue) return P .. of(tenant, 'queue:' .. queue) end
local function step_of(tenant) return math.floor(1000000 / (redis.call('HGET', P .. 'weights', tenant) or 1)) end

local function enter(tenant, queue)
  local turns = P .. 'turns:' .. queue
  if redis.call('ZSCORE', turns, tenant) then return end
  local clock, own = unpack(redis.call('HMGET', P .. 'served:' .. queue, '', tenant))
  redis.call('ZADD', turns, exact(math.max(tonumber(clock or 0), tonumber(own or 0))), tenant)
end

local function leave_if_empty(tenant, queue)
  if redis.call('EXISTS', key_of(tenant, queue)) == 0 then redis.call('ZREM', P .. 'turns:' .. queue, tenant) end
end

-- Lower scores run first. The score combines priority and age: a job of priority p ranks as one of priority 0 that was
-- created p * AGING_MS earlier. All jobs age at the same rate, so the score never changes.
function queues.add(id)
  local priority, created_at, queue = all(id, 'priority', 'created_at', 'queue')
  local tenant = tenant_of(job(id))
  redis.call('ZADD', key_of(tenant, queue), created_at - priority * AGING_MS, id)
  enter(tenant, queue)
end

function queues.remove(id)
  local tenant, queue = tenant_of(job(id)), get(id, 'queue')
  redis.call('ZREM', key_of(tenant, queue), id)
  leave_if_empty(tenant, queue)
end

function queues.length(tenant, queue) return redis.call('ZCARD', key_of(tenant, queue)) end

-- Returns the ids from rank `first` to `last`.
function queues.ids(tenant, queue, first, last) return redis.call('ZRANGE', key_of(tenant, queue), first, last) end

-- Returns up to `most` tenants with queued jobs (all without it), the next one first, each with its virtual time.
function queues.tenants(queue, most)
  -- Processes of earlier releases give `default` no turn, and leave it one.
  if redis.call('EXISTS', key_of('default', queue)) == 1 then enter('default', queue) else leave_if_empty('default', queue) end
  local flat, tenants = redis.call('ZRANGE', P .. 'turns:' .. queue, 0, (most or 0) - 1, 'WITHSCORES'), {}
  local clock = tonumber(redis.call('HGET', P .. 'served:' .. queue, '') or 0)
  -- One that was passed over, at its limit of running jobs, does not catch up.
  for i = 1, #flat, 2 do tenants[#tenants + 1] = {name = flat[i], time = math.max(clock, tonumber(flat[i + 1]))} end
  return tenants
end

-- Counts jobs of a tenant that are about to be claimed, in its own turn or in the batch of another's.
function queues.serve(tenant, queue, number, is_turn)
  local time = tenant.time + number * step_of(tenant.name)
  redis.call('HSET', P .. 'served:' .. queue, tenant.name, exact(time))
  if is_turn then redis.call('HSET', P .. 'served:' .. queue, '', exact(tenant.time)) end
  redis.call('ZADD', P .. 'turns:' .. queue, 'XX', exact(time), tenant.name)
end

-- Measures how often a job of a queue ends while jobs wait, over all workers and batches: the mean time since the one
-- before, or since its own start if that was later. And how long its jobs run, all of them and those of its kind.
function queues.note_end(queue, kind, started_at)
  local run, run_of_kind = queue .. ':run', queue .. ':run:' .. kind
  local mean, last, run_mean, kind_mean = unpack(redis.call('HMGET', P .. 'ends', queue, queue .. ':last', run, run_of_kind))
  local function moved(old, new) return old and 0.9 * old + 0.1 * new or new end
  local since, ran = now - math.max(tonumber(last or 0), tonumber(started_at)), now - started_at
  redis.call('HSET', P .. 'ends', queue, moved(mean, since), queue .. ':last', now,
    run, moved(run_mean, ran), run_of_kind, moved(kind_mean, ran))
end

-- Returns how long the first n queued jobs of a tenant run by the means of their kinds, as a multiple of the mean of the
-- queue. Reads AHEAD of them; the others count as these do on average.
local function work(tenant, queue, n, means)
  if not tenant.sums then
    tenant.sums = {[0] = 0}
    for k, id in ipairs(queues.ids(tenant.name, queue, 0, AHEAD - 1)) do
      local kind = get(id, 'kind')
      means[kind] = means[kind] or tonumber(redis.call('HGET', P .. 'ends', queue .. ':run:' .. kind) or means.all)
      tenant.sums[k] = tenant.sums[k - 1] + means[kind] / means.all
    end
  end
  local read = #tenant.sums
  return n <= read and tenant.sums[n] or tenant.sums[read] * n / read
end

-- Returns, for each job, how many others are claimed before it if none is added, and in how many ms its own turn comes by
-- the mean time between two ends and the run times of the kinds before it; false for a job that is not in a queue, and for
-- what was not measured.
function commands.positions(a)
  local found, known = {}, {}
  for i, id in ipairs(a.ids) do
    local tenant, queue = tenant_of(job(id)), get(id, 'queue')
    local rank = queue and redis.call('ZRANK', key_of(tenant, queue), id)
    if rank and not known[queue] then
      known[queue] = queues.tenants(queue)
      known[queue].means = {all = math.max(1, tonumber(redis.call('HGET', P .. 'ends', queue .. ':run') or 1))}
      for _, other in ipairs(known[queue]) do
        other.step, other.length = step_of(other.name), queues.length(other.name, queue)
        known[queue][other.name] = other
      end
    end
    found[i] = {false, false}
    if rank then
      local own, before, means = known[queue][tenant], rank, known[queue].means
      local time, runs = own.time + rank * own.step, work(own, queue, rank, means)
      for _, other in ipairs(known[queue]) do
        local ahead = (time - other.time) / other.step
        if other ~= own and ahead >= 0 then
          local wins_tie = ahead % 1 == 0 and other.name < tenant
          local number = math.min(other.length, math.ceil(ahead) + (wins_tie and 1 or 0))
          before, runs = before + number, runs + work(other, queue, number, means)
        end
      end
      local mean, last = unpack(redis.call('HMGET', P .. 'ends', queue, queue .. ':last'))
      found[i] = {before, mean and math.max(0, math.ceil(last + (runs + 1) * mean - now)) or false}
    end
  end
  return found
end

-- Returns the fields of a job, and what `positions` returns of it.
function commands.read(a)
  return {redis.call('HGETALL', job(a.id)), commands.positions({ids = {a.id}})[1]}
end

-- Returns the number of queued jobs of each queue.
function commands.depths(a)
  local depths = {}
  for i, queue in ipairs(a.queues) do
    depths[i] = 0
    for _, tenant in ipairs(queues.tenants(queue)) do depths[i] = depths[i] + queues.length(tenant.name, queue) end
  end
  return depths
end

-- Returns up to 1,000 queued jobs of a queue for which no Celery message waits.
function commands.without_nudge(a)
  local nudged, ids = redis.call('LLEN', a.queue), {}
  for _, tenant in ipairs(queues.tenants(a.queue)) do
    for _, id in ipairs(queues.ids(tenant.name, a.queue, nudged, nudged + 999 - #ids)) do ids[#ids + 1] = id end
    nudged = math.max(0, nudged - queues.length(tenant.name, a.queue))
    if #ids == 1000 then break end
  end
  return ids
end
