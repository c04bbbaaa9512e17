-- Creates a queued job. Checks the idempotency key, the length of the queue, and that inputs, models and collections
-- exist. A retry continues from the checkpoint of the job that it repeats.
function commands.create(a)
  if redis.call('EXISTS', job(a.id)) == 1 then return {'created', a.id} end -- repeated by the caller after a lost answer
  local tenant = a.tenant or 'default'
  local idem = P .. of(tenant, 'idem:' .. (a.idem_key or ''))
  local known = a.idem_key and redis.call('GET', idem)
  if known then
    local hash, id = known:match('^(%x+) (.+)$')
    if redis.call('EXISTS', job(id)) == 1 then return {hash == a.idem_hash and 'exists' or 'reused', id} end
  end
  if queues.length(tenant, a.queue) >= a.max_queue then return {'full', ''} end
  if out_of_room() then return {'out_of_room', ''} end
  local most = a.limits
  if most.queued_jobs and redis.call('ZCARD', P .. of(tenant, 'jobs:status:queued')) >= most.queued_jobs then
    return {'limit', 'queued_jobs'}
  end
  local stored = tonumber(redis.call('HGET', P .. 'stored', tenant) or 0)
  if most.stored_bytes and stored >= most.stored_bytes then return {'limit', 'stored_bytes'} end
  local hours = a.queue == 'train' and most.training_hours
  if hours and tonumber(redis.call('GET', trained(tenant)) or 0) >= hours * 3600000 then return {'limit', 'training_hours'} end
  for _, sha in ipairs(a.inputs) do
    if not live(sha) then return {'missing', sha} end
  end
  for used in a.uses:gmatch('%S+') do
    local ready = redis.call('HEXISTS', P .. 'collection:' .. used, 'latest') == 1 and owns(a, P .. 'collection:' .. used)
    local model = P .. 'model:' .. used
    local usable = redis.call('EXISTS', model) == 1 and (owns(a, model) or redis.call('ZSCORE', P .. 'shared-models', used))
    if not ready and not usable then return {'unknown', used} end
  end
  -- Models that were added can be removed, those that came with the service cannot; their ids look alike.
  for model in a.models:gmatch('%S+') do
    local is_named = (' ' .. a.uses .. ' '):find(' ' .. model .. ' ', 1, true)
    if not is_named and redis.call('EXISTS', P .. 'model:' .. model) == 1 then a.uses = a.uses .. ' ' .. model end
  end
  local collection = a.collection == 'new' and 'col_' .. a.id:sub(5) or a.collection
  if collection and collection == a.collection then
    local key = P .. 'collection:' .. collection
    if redis.call('EXISTS', key) == 0 or not owns(a, key) then return {'unknown', collection} end
    local building = redis.call('HGET', key, 'building')
    if building then return {'building', building} end
  end
  redis.call('HSET', job(a.id), 'id', a.id, 'tenant', tenant, 'format', a.format, 'kind', a.kind, 'queue', a.queue, 'priority', a.priority, 'params', a.params,
    'compat', a.compat, 'created_at', now, 'attempt', 0, 'fence', 0, 'ttl_ms', a.ttl_ms, 'retry_of', a.retry_of,
    'webhook_url', a.webhook_url, 'uses', a.uses, 'models', a.models, 'request_id', a.request_id,
    'traceparent', a.traceparent, 'safety', a.safety, 'max_running', most.running_jobs or '')
  for _, sha in ipairs(a.inputs) do
    reference(a.id, sha)
    keep_upload(of(tenant, 'image'), sha, a.upload_ttl_ms)
    keep_upload(of(tenant, 'archive'), sha, a.upload_ttl_ms)
  end
  use(a.id, a.uses)
  if collection then build(a.id, collection, a.params, a.uses) end
  local checkpoint = get(a.retry_of, 'checkpoint')
  if checkpoint then keep_checkpoint(a.id, checkpoint) end
  if a.expires_ms > 0 then
    redis.call('HSET', job(a.id), 'expires_at', now + a.expires_ms)
    redis.call('ZADD', P .. 'expiry', now + a.expires_ms, a.id)
  end
  if a.idem_key then redis.call('SET', idem, a.idem_hash .. ' ' .. a.id, 'EX', 86400) end
  redis.call('ZADD', P .. of(tenant, 'jobs'), 0, a.id)
  redis.call('ZADD', P .. of(tenant, 'jobs:kind:' .. a.kind), 0, a.id)
  queues.add(a.id)
  move(a.id, 'queued')
  return {'created', a.id}
end

-- What counts towards the limits of a tenant's key, which are checked above, and when the hours of trainings begin at 0 again.
-- `per_minute` is the key's limit of requests, by which the time in `pace` is counted.
function commands.usage(a)
  local tenant = a.tenant or 'default'
  local jobs = P .. of(tenant, 'jobs:status:')
  local busy = a.per_minute and math.max(0, tonumber(redis.call('GET', P .. 'pace:' .. a.key) or 0) - now) or 0
  return {math.ceil(busy * (a.per_minute or 0) / 60000 - 0.001), redis.call('ZCARD', jobs .. 'queued'), redis.call('ZCARD', jobs .. 'running'),
    tonumber(redis.call('GET', trained(tenant)) or 0), tonumber(redis.call('HGET', P .. 'stored', tenant) or 0),
    (math.floor(now / PERIOD_MS) + 1) * PERIOD_MS}
end

local function lease(id, a, batch)
  dequeue(id)
  redis.call('HINCRBY', job(id), 'attempt', 1)
  if redis.call('HINCRBY', job(id), 'fence', 1) == 1 then -- not a later attempt
    local kind, created_at = all(id, 'kind', 'created_at')
    observe('wait_seconds:' .. kind .. ':' .. a.queue, (now - created_at) / 1000, SECONDS)
  end
  redis.call('HSET', job(id), 'started_at', now, 'worker', a.worker, 'batch', batch)
  redis.call('ZADD', P .. 'leases', now + a.lease_ms, id)
  move(id, 'running')
  return redis.call('HGETALL', job(id))
end

-- Whether a worker has the models of a job in its memory; nil for a job without models.
local function has_models(id, loaded)
  local models = get(id, 'models') or ''
  for model in models:gmatch('%S+') do
    if not loaded[model] then return false end
  end
  return models ~= '' or nil
end

-- Moves a job of a tenant whose models the worker has loaded to the front, if the first would need others. It is among
-- the first NEAR, passes over no job of higher priority, and each job is passed over PASSES times at most.
local function prefer_loaded(ids, a)
  local loaded, over, highest = {}, {}, -math.huge
  for _, model in ipairs(a.loaded) do loaded[model] = true end
  for i = 1, next(loaded) and math.min(#ids, NEAR) or 0 do
    local format, priority, passed = all(ids[i], 'format', 'priority', 'passed')
    if tonumber(format or 0) <= a.format then
      local has = has_models(ids[i], loaded)
      if #over == 0 and has ~= false then return end
      if has and tonumber(priority) >= highest then
        for _, id in ipairs(over) do redis.call('HINCRBY', job(id), 'passed', 1) end
        return table.insert(ids, 1, table.remove(ids, i))
      end
      if tonumber(passed or 0) >= PASSES then return end
      over[#over + 1], highest = ids[i], math.max(highest, priority)
    end
  end
end

-- Chooses jobs of one tenant for a claim that has taken some already. They have equal compat, overtake no job of higher
-- priority, and are on their first attempt, since a job of the batch may have killed its worker. Records of a newer format
-- than the worker's are left to a newer worker; earlier releases wrote none. The first is one whose models the worker has
-- loaded, where prefer_loaded allows it. Expires overdue jobs that it meets.
local function choose(tenant, a, claim)
  local ids = queues.ids(tenant, a.queue, 0, math.min(claim.window, a.limit > 1 and WINDOW or NEAR) - 1)
  local running, overtaken, number = redis.call('ZCARD', P .. of(tenant, 'jobs:status:running')), -math.huge, 0
  claim.window = claim.window - #ids
  if not claim.compat then prefer_loaded(ids, a) end
  for _, id in ipairs(ids) do
    if #claim.taken == a.limit or claim.compat == '' or claim.expired == STEP then break end
    if overdue(id) then
      expire(id)
      claim.expired = claim.expired + 1
    elseif tonumber(get(id, 'format') or 0) <= a.format then
      local theirs, priority, attempt, most = all(id, 'compat', 'priority', 'attempt', 'max_running')
      if attempt ~= '0' then theirs = '' end
      local allowed = running + number < (tonumber(most or '') or math.huge)
      if allowed and (not claim.compat or (theirs == claim.compat and tonumber(priority) >= overtaken)) then
        claim.compat = theirs
        claim.taken[#claim.taken + 1] = id
        number = number + 1
      else
        overtaken = math.max(overtaken, priority)
      end
    end
  end
  return number
end

-- Leases the most urgent job of the tenant whose turn it is, and up to limit - 1 others that may run in one batch with it,
-- also of the tenants that are next. Returns 'again' if it met only overdue jobs.
function commands.claim(a)
  local claim = {taken = {}, expired = 0, window = a.limit > 1 and WINDOW or 5 * WINDOW}
  for _, tenant in ipairs(queues.tenants(a.queue, WINDOW)) do
    if #claim.taken == a.limit or claim.compat == '' or claim.expired == STEP or claim.window == 0 then break end
    local number = choose(tenant.name, a, claim)
    if number > 0 then queues.serve(tenant, a.queue, number, number == #claim.taken) end
  end
  local taken = claim.taken
  for n, id in ipairs(taken) do taken[n] = lease(id, a, #taken) end
  if #taken > 0 then
    redis.call('HSET', P .. 'claimed', a.queue, now)
    observe('batch_jobs:' .. a.queue, #taken, SIZES)
  end
  return {#taken == 0 and claim.expired > 0 and 'again' or 'claimed', taken}
end

function commands.renew(a)
  local status = held(a)
  if not status then return 'lost' end
  redis.call('ZADD', P .. 'leases', now + a.lease_ms, a.id)
  return instruction(a.id, status)
end

function commands.report(a)
  local status = held(a)
  if not status then return 'lost' end
  if get(a.id, 'last_report') == a.nonce then return instruction(a.id, status) end -- repeated after a lost answer
  redis.call('HSET', job(a.id), 'last_report', a.nonce)
  if a.progress then redis.call('HSET', job(a.id), 'progress', a.progress) end
  event(a.id, a.type, a.data)
  return instruction(a.id, status)
end

-- Stores the newest checkpoint of a running job. An attempt with a checkpoint does not count towards worker_lost.
function commands.checkpoint(a)
  local status = held(a)
  if not status then return 'lost' end
  keep_checkpoint(a.id, a.checkpoint)
  redis.call('HSET', job(a.id), 'fruitful', get(a.id, 'attempt'))
  return instruction(a.id, status)
end

-- Stores the losses of a running training.
function commands.losses(a)
  local status = held(a)
  if not status then return 'lost' end
  redis.call('HSET', job(a.id), 'losses', a.losses)
  return instruction(a.id, status)
end

-- Ends a job; only the holder of its current lease can. A cancel that came first wins, and the outputs are dropped.
function commands.finish(a)
  local status = held(a)
  if not status then
    -- Repeated by the caller after a lost answer: its own lease finished the job.
    if get(a.id, 'finished_fence') == tostring(a.fence) then return get(a.id, 'status') end
    return 'lost'
  end
  local final = status == 'canceling' and 'canceled' or a.status
  redis.call('HSET', job(a.id), 'finished_fence', a.fence, 'metrics', a.metrics)
  if final == 'succeeded' then
    redis.call('HSET', job(a.id), 'outputs', a.outputs)
    for i, output in ipairs(cjson.decode(a.outputs)) do
      reference(a.id, output.sha256)
      event(a.id, 'output', a.each_output[i])  -- unparsed: cjson writes 14 digits, and a seed may have 16
    end
    if a.model then add_model(a.id, a.model) end
    if a.collection then add_version(a.id, a.collection) end
    keep_checkpoint(a.id, nil)
  end
  local kind, queue, started_at = all(a.id, 'kind', 'queue', 'started_at')
  queues.note_end(queue, kind, started_at)
  if queue == 'train' then
    local key = trained(tenant_of(job(a.id)))
    redis.call('INCRBY', key, math.ceil(a.run_ms))
    redis.call('PEXPIRE', key, PERIOD_MS)
  end
  observe('run_seconds:' .. kind .. ':' .. queue, a.run_ms / 1000, SECONDS)
  close(a.id, final, final == 'failed' and a.error or nil)
  return final
end

-- Requeues the job of a worker that stops. The attempt does not count.
function commands.release(a)
  local status = held(a)
  if not status then return 'lost' end
  if status == 'canceling' then
    close(a.id, 'canceled')
    return 'canceled'
  end
  if get(a.id, 'fruitful') ~= get(a.id, 'attempt') then redis.call('HINCRBY', job(a.id), 'attempt', -1) end
  requeue(a.id, 0)
  return 'queued'
end

function commands.cancel(a)
  if not owns(a, job(a.id)) then return end
  local status = get(a.id, 'status')
  if status == 'queued' then
    dequeue(a.id)
    close(a.id, 'canceled')
  elseif status == 'running' then
    move(a.id, 'canceling')
  end
  return get(a.id, 'status')
end

-- Asks a running job to end after its current step and keep its results; the caller checks the kind.
function commands.finish_early(a)
  local status = get(a.id, 'status')
  if status == 'running' then redis.call('HSET', job(a.id), 'finishing', 1) end
  return status
end

function commands.delete(a)
  if redis.call('EXISTS', job(a.id)) == 0 or not owns(a, job(a.id)) then return 'missing' end
  if not redis.call('ZSCORE', P .. 'done', a.id) then return 'unfinished' end
  for _, delivery in ipairs(redis.call('SMEMBERS', P .. 'deliveries-of:' .. a.id)) do forget_delivery(delivery) end
  forget(a.id)
  return 'deleted'
end
