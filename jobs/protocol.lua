-- The job protocol. Every change of a job is one call of this script, so it happens whole or not at all.
-- ARGV[1] names the command, ARGV[2] holds its arguments as JSON; nested JSON travels as opaque strings.
--
--   queued -> running -> succeeded | failed | canceled      queued -> canceled | expired
--             running -> canceling -> canceled              running -> queued  (a lease ran out, or was handed back)
--
-- Keys (all under "atelier:"):
--   job:<id>          hash, the record and the truth           events:<id>   stream, what happened to it
--   queue:<name>      zset, queued ids by urgency               delayed       zset, queued ids waiting for a retry
--   leases            zset, running ids by end of lease         expiry        zset, queued ids by expires_at
--   jobs, jobs:kind:<k>, jobs:status:<s>, jobs:kind-status:<k>:<s>   zsets, ids in order, an index for each filter
--   done              zset, finished ids by end of life         dropping      set, who is gone and still names objects
--   named:<who>       list, the objects of a model or a collection: <who> is model:<id> or collection:<id>
--   refs:<sha>        zset, who names an object, until when     objects       zset, objects by time of next check
--   deleting:<sha>    an object being removed right now         image:<sha>, archive:<sha>   an upload's facts
--   model:<id>        hash, the card of a trained model         models        zset, the ids of trained models
--   deleted-models    zset, ids of models by time of deletion: workers remove their copies
--   collection:<id>   hash, a collection and its versions   collections   zset, the ids of collections
--   uses:<id>         set, the unfinished jobs that name a trained model or a collection; the collections of a model
--   idem:<key>        the request and job of a used key         stats         hash, counters for /metrics
--   webhook_hosts     zset, hosts by time of next call          webhooks:<host>   zset, finished ids by time of next call
--   workers, upkeeps  zsets, processes by last heartbeat        worker:<name>, upkeep:<name>   what a process reports
--   claimed           hash, time of the last claim of a queue

local P = 'atelier:'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local FOREVER = '+inf'
local DAY_MS = 86400000
-- Redis serves nobody else while a command runs, so each does a bounded amount of work: what may be more is done in
-- steps of this size, and the answer says whether the caller should ask again.
local STEP = 100
-- Waiting raises a job's rank: ten minutes in the queue count as much as one step of priority.
local AGING_MS = 600000
local WINDOW, NEAR = 200, 20 -- how far a claim looks for the jobs of a batch, and for a single one

local function job(id) return P .. 'job:' .. id end
local function get(id, field) return redis.call('HGET', job(id), field) end
local function all(id, ...) return unpack(redis.call('HMGET', job(id), ...)) end

-- Whoever follows jobs hears which one has news and reads its stream.
local function event(id, kind, data)
  redis.call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', 5000, '*', 'type', kind, 'data', data)
  redis.call('PUBLISH', P .. 'events', id)
end

local function move(id, status, error)
  local from, kind, attempt = all(id, 'status', 'kind', 'attempt')
  if from then
    redis.call('ZREM', P .. 'jobs:status:' .. from, id)
    redis.call('ZREM', P .. 'jobs:kind-status:' .. kind .. ':' .. from, id)
  end
  redis.call('HSET', job(id), 'status', status)
  redis.call('ZADD', P .. 'jobs:status:' .. status, 0, id)
  redis.call('ZADD', P .. 'jobs:kind-status:' .. kind .. ':' .. status, 0, id)
  event(id, 'status', string.format('{"status":"%s","attempt":%d,"error":%s}', status, attempt, error or 'null'))
end

-- Lower scores run first: by priority and age together. The score holds for as long as the job waits, since all age
-- alike: a job of priority p ranks as one of priority 0 that came p * AGING_MS earlier.
local function enqueue(id)
  local priority, created_at, queue = all(id, 'priority', 'created_at', 'queue')
  redis.call('ZADD', P .. 'queue:' .. queue, created_at - priority * AGING_MS, id)
end

local function dequeue(id)
  redis.call('ZREM', P .. 'queue:' .. get(id, 'queue'), id)
  redis.call('ZREM', P .. 'delayed', id)
  redis.call('ZREM', P .. 'expiry', id)
end

-- A job goes back to its queue, where it may expire again; a delay keeps it from being claimed at once.
local function requeue(id, delay)
  redis.call('HDEL', job(id), 'progress', 'worker')
  redis.call('ZREM', P .. 'leases', id)
  local expires_at = get(id, 'expires_at')
  if expires_at then redis.call('ZADD', P .. 'expiry', expires_at, id) end
  if delay > 0 then redis.call('ZADD', P .. 'delayed', now + delay, id) else enqueue(id) end
  move(id, 'queued')
end

-- `who` (a job, model:<id> or collection:<id>) names an object no longer; the next clean-up looks at it.
local function unreference(who, sha)
  redis.call('ZREM', P .. 'refs:' .. sha, who)
  redis.call('ZADD', P .. 'objects', now, sha)
end

-- `who` (a job or a collection) uses models and collections, their ids parted by spaces: none of them can be deleted.
local function use(who, ids)
  for used in ids:gmatch('%S+') do redis.call('SADD', P .. 'uses:' .. used, who) end
end

local function unuse(who, ids)
  for used in ids:gmatch('%S+') do redis.call('SREM', P .. 'uses:' .. used, who) end
end

local function refer(who, objects)
  for _, sha in ipairs(objects) do
    redis.call('ZADD', P .. 'refs:' .. sha, FOREVER, who)
    redis.call('RPUSH', P .. 'named:' .. who, sha)
  end
end

-- A model or a collection that is gone names its objects no longer; what is more than a step is left to the sweeps.
local function drop(who)
  for _, sha in ipairs(redis.call('LPOP', P .. 'named:' .. who, STEP) or {}) do unreference(who, sha) end
  local more = redis.call('EXISTS', P .. 'named:' .. who) == 1
  redis.call(more and 'SADD' or 'SREM', P .. 'dropping', who)
end

-- A model or a collection goes, and with it its references to its objects.
local function unregister(sort, id)
  local who = sort .. ':' .. id
  -- A release before this one kept them in a field.
  for sha in (redis.call('HGET', P .. who, 'objects') or ''):gmatch('%x+') do redis.call('RPUSH', P .. 'named:' .. who, sha) end
  drop(who)
  unuse(id, redis.call('HGET', P .. who, 'uses') or '')
  redis.call('UNLINK', P .. who)
  redis.call('ZREM', P .. sort .. 's', id)
  if sort == 'model' then
    redis.call('ZADD', P .. 'deleted-models', now, id)
    redis.call('ZREMRANGEBYRANK', P .. 'deleted-models', 0, -10001)
  end
end

-- A job takes up the making of a collection's next version; of a new collection the first.
local function build(id, collection, params, uses)
  local key = P .. 'collection:' .. collection
  if redis.call('HSETNX', key, 'created_at', now) == 1 then
    redis.call('HSET', key, 'params', params, 'uses', uses)
    redis.call('ZADD', P .. 'collections', 0, collection)
    use(collection, uses)
  end
  redis.call('HSET', key, 'building', id)
  redis.call('HSET', job(id), 'collection', collection)
end

-- However it ends, the job builds no longer; a collection that never had a version goes.
local function stop_building(id)
  local collection = get(id, 'collection')
  if not collection then return end
  redis.call('HDEL', P .. 'collection:' .. collection, 'building')
  if redis.call('HEXISTS', P .. 'collection:' .. collection, 'latest') == 0 then unregister('collection', collection) end
end

-- The host of a job's webhook, without the port; nil where there is no webhook.
local function webhook_host(id)
  local authority = (get(id, 'webhook_url') or ''):lower():match('^https://([^/?#]+)')
  return authority and authority:gsub(':%d+$', ''):gsub('%.$', '') or nil
end

local function close(id, status, error)
  local uses, ttl_ms, kind = all(id, 'uses', 'ttl_ms', 'kind')
  redis.call('HSET', job(id), 'finished_at', now, 'error', error or '')
  redis.call('ZREM', P .. 'leases', id)
  unuse(id, uses or '')
  stop_building(id)
  redis.call('ZADD', P .. 'done', now + ttl_ms, id)
  redis.call('HINCRBY', P .. 'stats', 'jobs:' .. kind .. ':' .. status, 1)
  local host = webhook_host(id)
  if host then
    redis.call('ZADD', P .. 'webhooks:' .. host, now, id)
    redis.call('ZADD', P .. 'webhook_hosts', 'LT', now, host)
  end
  move(id, status, error)
end

-- The status of a job whose current lease is the caller's; nil once it is not.
local function held(a)
  local status = get(a.id, 'status')
  if get(a.id, 'fence') == tostring(a.fence) and (status == 'running' or status == 'canceling') then return status end
end

-- What the holder of a lease must do: the status of its job, or finish with what it has.
local function instruction(id, status)
  return status == 'running' and get(id, 'finishing') and 'finishing' or status
end

-- The ids of a zset whose time has come, at most a step of them.
local function due(zset) return redis.call('ZRANGEBYSCORE', P .. zset, '-inf', now, 'LIMIT', 0, STEP) end

local function overdue(id)
  local expires_at = redis.call('ZSCORE', P .. 'expiry', id)
  return expires_at and tonumber(expires_at) <= now
end

local function expire(id)
  dequeue(id)
  close(id, 'expired')
end

local function reference(id, sha)
  redis.call('ZADD', P .. 'refs:' .. sha, FOREVER, id)
  redis.call('HSET', job(id), 'objects', (get(id, 'objects') or '') .. sha .. ' ')
end

-- Of a job's checkpoints only the newest is kept; nil keeps none.
local function keep_checkpoint(id, checkpoint)
  local old = get(id, 'checkpoint')
  if old then
    unreference(id, cjson.decode(old).sha256)
    redis.call('HDEL', job(id), 'checkpoint')
  end
  if checkpoint then
    redis.call('ZADD', P .. 'refs:' .. cjson.decode(checkpoint).sha256, FOREVER, id)
    redis.call('HSET', job(id), 'checkpoint', checkpoint)
  end
end

-- A trained model comes into being with the success of its job, in the same step.
local function add_model(id, model)
  redis.call('HSET', P .. 'model:' .. model.id, 'card', model.card, 'trained_by', id, 'created_at', now)
  redis.call('ZADD', P .. 'models', 0, model.id)
  refer('model:' .. model.id, model.objects)
end

-- So does a version of a collection. The newest one's parameters are those that the next one goes on with.
local function add_version(id, made)
  local who = 'collection:' .. get(id, 'collection')
  local version = redis.call('HINCRBY', P .. who, 'latest', 1)
  redis.call('HSET', P .. who, 'params', get(id, 'params'), 'version:' .. version,
    cjson.encode({created_at = now, built_by = id, file = made.file, figures = made.figures, plots = made.plots}))
  refer(who, made.objects)
  redis.call('HSET', job(id), 'version', version)
end

local function live(sha)
  return redis.call('ZCOUNT', P .. 'refs:' .. sha, '(' .. now, FOREVER) > 0 and redis.call('EXISTS', P .. 'deleting:' .. sha) == 0
end

-- Returns how many objects the job named.
local function forget(id)
  local objects, kind, status = all(id, 'objects', 'kind', 'status')
  local number = 0
  for sha in (objects or ''):gmatch('%x+') do
    unreference(id, sha)
    number = number + 1
  end
  keep_checkpoint(id, nil)
  redis.call('ZREM', P .. 'jobs', id)
  redis.call('ZREM', P .. 'jobs:kind:' .. kind, id)
  redis.call('ZREM', P .. 'jobs:status:' .. status, id)
  redis.call('ZREM', P .. 'jobs:kind-status:' .. kind .. ':' .. status, id)
  redis.call('ZREM', P .. 'done', id)
  local host = webhook_host(id)
  if host then redis.call('ZREM', P .. 'webhooks:' .. host, id) end
  redis.call('UNLINK', job(id), P .. 'events:' .. id)
  return number
end

-- An upload, an image or an archive, lives on for ttl_ms after its last use.
local function keep_upload(sort, sha, ttl)
  if redis.call('PEXPIRE', P .. sort .. ':' .. sha, ttl) == 1 then
    redis.call('ZADD', P .. 'refs:' .. sha, now + ttl, sort)
    redis.call('ZADD', P .. 'objects', now + ttl, sha)
  end
end

-- Whether Redis is near its maxmemory. The rest is for the jobs that were accepted: at the bound itself neither events
-- nor Celery's own commands are taken, and nothing could end.
local function out_of_room()
  local memory = redis.call('INFO', 'memory')
  local used, bound = tonumber(memory:match('used_memory:(%d+)')), tonumber(memory:match('maxmemory:(%d+)'))
  return bound > 0 and used > 0.9 * bound
end

local commands = {}

-- Idempotency check, bound of the queue, inputs, models and collections still there, record and indexes: all in one
-- step. A retry goes on from the checkpoint of the job it repeats.
function commands.create(a)
  if redis.call('EXISTS', job(a.id)) == 1 then return {'created', a.id} end -- the caller asks again after a lost answer
  local known = a.idem_key and redis.call('GET', P .. 'idem:' .. a.idem_key)
  if known then
    local hash, id = known:match('^(%x+) (.+)$')
    if redis.call('EXISTS', job(id)) == 1 then return {hash == a.idem_hash and 'exists' or 'reused', id} end
  end
  if redis.call('ZCARD', P .. 'queue:' .. a.queue) >= a.max_queue then return {'full', ''} end
  if out_of_room() then return {'out_of_room', ''} end
  for _, sha in ipairs(a.inputs) do
    if not live(sha) then return {'missing', sha} end
  end
  for used in a.uses:gmatch('%S+') do
    local ready = redis.call('HEXISTS', P .. 'collection:' .. used, 'latest') == 1
    if not ready and redis.call('EXISTS', P .. 'model:' .. used) == 0 then return {'unknown', used} end
  end
  local collection = a.collection == 'new' and 'col_' .. a.id:sub(5) or a.collection
  if collection and collection == a.collection then
    local key = P .. 'collection:' .. collection
    if redis.call('EXISTS', key) == 0 then return {'unknown', collection} end
    local building = redis.call('HGET', key, 'building')
    if building then return {'building', building} end
  end
  redis.call('HSET', job(a.id), 'id', a.id, 'kind', a.kind, 'queue', a.queue, 'priority', a.priority, 'params', a.params,
    'compat', a.compat, 'created_at', now, 'attempt', 0, 'fence', 0, 'ttl_ms', a.ttl_ms, 'retry_of', a.retry_of,
    'webhook_url', a.webhook_url, 'uses', a.uses)
  for _, sha in ipairs(a.inputs) do
    reference(a.id, sha)
    keep_upload('image', sha, a.upload_ttl_ms)
    keep_upload('archive', sha, a.upload_ttl_ms)
  end
  use(a.id, a.uses)
  if collection then build(a.id, collection, a.params, a.uses) end
  local checkpoint = get(a.retry_of, 'checkpoint')
  if checkpoint then keep_checkpoint(a.id, checkpoint) end
  if a.expires_ms > 0 then
    redis.call('HSET', job(a.id), 'expires_at', now + a.expires_ms)
    redis.call('ZADD', P .. 'expiry', now + a.expires_ms, a.id)
  end
  if a.idem_key then redis.call('SET', P .. 'idem:' .. a.idem_key, a.idem_hash .. ' ' .. a.id, 'EX', 86400) end
  redis.call('ZADD', P .. 'jobs', 0, a.id)
  redis.call('ZADD', P .. 'jobs:kind:' .. a.kind, 0, a.id)
  enqueue(a.id)
  move(a.id, 'queued')
  return {'created', a.id}
end

local function lease(id, a, batch)
  dequeue(id)
  redis.call('HINCRBY', job(id), 'attempt', 1)
  redis.call('HINCRBY', job(id), 'fence', 1)
  redis.call('HSET', job(id), 'started_at', now, 'worker', a.worker, 'batch', batch)
  redis.call('ZADD', P .. 'leases', now + a.lease_ms, id)
  move(id, 'running')
  return redis.call('HGETALL', job(id))
end

-- The most urgent job of a queue, and up to limit - 1 others that may run in one batch with it: alike, none of lower
-- priority than a job they would overtake, and each on its first attempt, since one of a batch may have killed its
-- worker. Jobs past their time are met on the way and expire; 'again' when there was nothing else within reach.
function commands.claim(a)
  local ids = redis.call('ZRANGE', P .. 'queue:' .. a.queue, 0, (a.limit > 1 and WINDOW or NEAR) - 1)
  local taken, compat, overtaken, expired = {}, nil, -math.huge, 0
  for _, id in ipairs(ids) do
    if #taken == a.limit or compat == '' or expired == STEP then break end
    if overdue(id) then
      expire(id)
      expired = expired + 1
    else
      local theirs, priority, attempt = all(id, 'compat', 'priority', 'attempt')
      if attempt ~= '0' then theirs = '' end
      if not compat or (theirs == compat and tonumber(priority) >= overtaken) then
        compat = theirs
        taken[#taken + 1] = id
      else
        overtaken = math.max(overtaken, priority)
      end
    end
  end
  for n, id in ipairs(taken) do taken[n] = lease(id, a, #taken) end
  if #taken > 0 then redis.call('HSET', P .. 'claimed', a.queue, now) end
  return {#taken == 0 and expired > 0 and 'again' or 'claimed', taken}
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
  if get(a.id, 'last_report') == a.nonce then return instruction(a.id, status) end -- asked again after a lost answer
  redis.call('HSET', job(a.id), 'last_report', a.nonce)
  if a.progress then redis.call('HSET', job(a.id), 'progress', a.progress) end
  event(a.id, a.type, a.data)
  return instruction(a.id, status)
end

-- The newest checkpoint of a running job. An attempt that left one is none of those that end in worker_lost.
function commands.checkpoint(a)
  local status = held(a)
  if not status then return 'lost' end
  keep_checkpoint(a.id, a.checkpoint)
  redis.call('HSET', job(a.id), 'fruitful', get(a.id, 'attempt'))
  return instruction(a.id, status)
end

-- Only the holder of the current lease finishes a job. A cancel that came first wins, and its outputs are dropped.
function commands.finish(a)
  local status = held(a)
  if not status then
    -- The caller asks again after a lost answer: its own lease finished the job.
    if get(a.id, 'finished_fence') == tostring(a.fence) then return get(a.id, 'status') end
    return 'lost'
  end
  local final = status == 'canceling' and 'canceled' or a.status
  redis.call('HSET', job(a.id), 'finished_fence', a.fence, 'metrics', a.metrics)
  if final == 'succeeded' then
    redis.call('HSET', job(a.id), 'outputs', a.outputs)
    for i, output in ipairs(cjson.decode(a.outputs)) do
      reference(a.id, output.sha256)
      event(a.id, 'output', a.each_output[i])  -- as it came: cjson writes 14 digits, and a seed may have 16
    end
    if a.model then add_model(a.id, a.model) end
    if a.collection then add_version(a.id, a.collection) end
    keep_checkpoint(a.id, nil)
  end
  redis.call('HINCRBYFLOAT', P .. 'stats', 'run_ms:' .. get(a.id, 'kind'), a.run_ms)
  close(a.id, final, final == 'failed' and a.error or nil)
  return final
end

-- A worker that is told to stop gives the job back; the attempt does not count, as one with a checkpoint never does.
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
  local status = get(a.id, 'status')
  if status == 'queued' then
    dequeue(a.id)
    close(a.id, 'canceled')
  elseif status == 'running' then
    move(a.id, 'canceling')
  end
  return get(a.id, 'status')
end

-- A running job is to end after its step with what it has made so far; the caller knows which kinds can.
function commands.finish_early(a)
  local status = get(a.id, 'status')
  if status == 'running' then redis.call('HSET', job(a.id), 'finishing', 1) end
  return status
end

function commands.delete(a)
  if redis.call('EXISTS', job(a.id)) == 0 then return 'missing' end
  if not redis.call('ZSCORE', P .. 'done', a.id) then return 'unfinished' end
  forget(a.id)
  return 'deleted'
end

-- A lease nobody renewed: another attempt, or the end after max_attempts of them, the last of which was the job's own,
-- not that of a batch.
local function lapse(id, a)
  local status, attempt, fruitful, batch = all(id, 'status', 'attempt', 'fruitful', 'batch')
  local fruitless = attempt - (fruitful or 0)
  if status == 'canceling' then
    close(id, 'canceled')
  elseif fruitless >= a.max_attempts and tonumber(batch or 1) == 1 then
    close(id, 'failed', cjson.encode({code = 'worker_lost', details = {attempts = fruitless},
      message = 'The worker died or was cut off in each of ' .. fruitless .. ' attempts.'}))
  else
    requeue(id, a.retry_delay_ms * 2 ^ (fruitless - 1))
  end
end

local function undelay(id)
  redis.call('ZREM', P .. 'delayed', id)
  enqueue(id)
end

-- A step each of expired jobs, lapsed leases, retries that are due, records past their life and objects of collections
-- that went. 'again' while more is due. Any number of sweepers may run.
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

-- The finished jobs whose webhook is to be called now, each with the number of this try. Until `called`, the next try
-- comes after a delay that doubles; after the last one the webhook is given up. `calling` maps the ids that the caller
-- has in hand to their hosts: none of them is due, at most `max_calls` run at once, `per_host` of them to one host, and
-- only one to a host once half of `max_calls` run. What is in hand or due to a host bounds the hosts looked at.
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

function commands.called(a)
  local host = webhook_host(a.id)
  return host and redis.call('ZREM', P .. 'webhooks:' .. host, a.id) or 0
end

-- Announces an object before its bytes are stored, so that clean-up leaves it alone until then + ttl_ms. Held in the
-- name of the job or the upload that will name it, it is let go with that reference and not later.
function commands.hold(a)
  if redis.call('EXISTS', P .. 'deleting:' .. a.sha) == 1 then return 'deleting' end
  redis.call('ZADD', P .. 'refs:' .. a.sha, 'GT', now + a.ttl_ms, a.holder)
  redis.call('ZADD', P .. 'objects', 'GT', now + a.ttl_ms, a.sha)
  return 'held'
end

-- `holder`, in whose name the bytes were stored, lets go of them.
function commands.put_upload(a)
  if out_of_room() then return 'out_of_room' end
  redis.call('SET', P .. a.sort .. ':' .. a.sha, a.facts)
  keep_upload(a.sort, a.sha, a.ttl_ms)
  if a.holder then redis.call('ZREM', P .. 'refs:' .. a.sha, a.holder) end
  return 'kept'
end

-- An upload is forgotten. Its bytes stay for as long as others name them: jobs, or an upload that is just being stored.
function commands.delete_upload(a)
  if redis.call('DEL', P .. a.sort .. ':' .. a.sha) == 0 then return 'missing' end
  unreference(a.sort, a.sha)
  return 'deleted'
end

-- Deletes a model or a collection that nothing uses and no job builds.
function commands.unregister(a)
  local key = P .. a.sort .. ':' .. a.id
  if redis.call('EXISTS', key) == 0 then return {'missing', {}} end
  local building = redis.call('HGET', key, 'building')
  if building then return {'building', {building}} end
  local users = redis.call('SRANDMEMBER', P .. 'uses:' .. a.id, 10)
  if #users > 0 then return {'in_use', users} end
  unregister(a.sort, a.id)
  return {'deleted', {}}
end

-- Objects nothing names any more; each is the caller's to delete within a minute, and nobody stores it meanwhile.
function commands.condemn(a)
  local condemned = {}
  for _, sha in ipairs(redis.call('ZRANGEBYSCORE', P .. 'objects', '-inf', now, 'LIMIT', 0, 1000)) do
    if #condemned == a.limit then break end
    redis.call('ZREMRANGEBYSCORE', P .. 'refs:' .. sha, '-inf', now)
    local last = redis.call('ZRANGE', P .. 'refs:' .. sha, -1, -1, 'WITHSCORES')
    if #last == 0 then
      redis.call('SET', P .. 'deleting:' .. sha, 1, 'PX', 60000)
      redis.call('ZADD', P .. 'objects', now + 60000, sha)
      condemned[#condemned + 1] = sha
    elseif last[2] == 'inf' then
      redis.call('ZREM', P .. 'objects', sha)
    else
      redis.call('ZADD', P .. 'objects', last[2], sha)
    end
  end
  return condemned
end

function commands.deleted(a)
  redis.call('DEL', P .. 'deleting:' .. a.sha)
  if redis.call('EXISTS', P .. 'refs:' .. a.sha) == 0 then redis.call('ZREM', P .. 'objects', a.sha) end
  return 'deleted'
end

-- A process of a sort (worker or upkeep) lives; those that were silent for a day are forgotten.
function commands.beat(a)
  redis.call('ZADD', P .. a.sort .. 's', now, a.name)
  redis.call('SET', P .. a.sort .. ':' .. a.name, a.facts, 'PX', DAY_MS)
  redis.call('ZREMRANGEBYSCORE', P .. a.sort .. 's', '-inf', now - DAY_MS)
  return 'beaten'
end

-- The processes of a sort whose heartbeat is no older than silence_ms, each with what it reports.
function commands.living(a)
  local living = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. a.sort .. 's', now - a.silence_ms, '+inf')) do
    local facts = redis.call('GET', P .. a.sort .. ':' .. name)
    if facts then living[#living + 1] = {name, facts} end
  end
  return living
end

-- Of each queue, how long (ms) the older of its first and its last job has waited and how long ago a job was claimed,
-- and the number of leases that ran out overdue_ms ago. The write shows that writes are accepted.
function commands.vitals(a)
  redis.call('SET', P .. 'vitals', now, 'PX', DAY_MS)
  local queues = {}
  for i, queue in ipairs(a.queues) do
    local since = now
    for _, edge in ipairs({0, -1}) do
      local id = redis.call('ZRANGE', P .. 'queue:' .. queue, edge, edge)[1]
      if id then since = math.min(since, tonumber(get(id, 'created_at'))) end
    end
    queues[i] = {now - since, now - tonumber(redis.call('HGET', P .. 'claimed', queue) or 0)}
  end
  return {queues, redis.call('ZCOUNT', P .. 'leases', '-inf', now - a.overdue_ms)}
end

return commands[ARGV[1]](cjson.decode(ARGV[2]))
