-- Settlement store in Redis or Valkey: every method of bridge/settlement/store.py is one run of this script, and atomic.
--
-- KEYS[1]: prefix of every key, with a hash tag, so that all are in one slot of a cluster.
-- ARGV[1]: name of the method. ARGV[2]: its arguments, JSON. ARGV[3], of a write: the ciphertexts, one behind the other.
--
-- Keys behind the prefix. POSITION is the entry's number in the order of creation, 16 digits.
--   position             counter
--   e:POSITION           hash: an entry
--   id                   hash: entry id -> POSITION
--   all                  sorted set: POSITION by itself
--   state:STATE          sorted set: POSITION by itself
--   since                sorted set: POSITION of PENDING entries by pending_since
--   lanes                set: schema|operation|provider of PENDING entries
--   due:LANE             sorted set: POSITION of PENDING entries by due
--   ended                sorted set: POSITION of SETTLED and CLOSED entries by ended
--   open                 hash: digest -> POSITION of the open entry
--   key_uses             hash: key id -> how many entries hold a request under it
--   key_check            the key-check value
--   t:TICKET             POSITION, or "" for a call that was ended before it was written
--   w:WRITER_ID          number of the last batch of this writer; kept for a day after it
--   c:CALL_ID            sorted set: POSITION of entries that such a call refers to
--   c:CALL_ID|IDENTITY   the same for callers with this identity; callers without any have one that is empty
--
-- Nothing that can fail comes after the first write: Redis undoes nothing.

local prefix, method, arguments = KEYS[1], ARGV[1], cjson.decode(ARGV[2])
local ENDED_EARLY_KEPT_S = 600
local WRITER_KEPT_S = 86400
local ENDED, NEW_AND_PENDING = 0, 1 -- results of most writes, in place of the entry's id and state
local FINISHED = { SETTLED = true, CLOSED = true }

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function call(command, key, ...)
  return redis.call(command, prefix .. key, ...)
end

local function time_text(time)
  return string.format('%.6f', time)
end

-- entries --------------------------------------------------------------------------------------------------------

local function read(position)
  local flat = call('HGETALL', 'e:' .. position)
  if #flat == 0 then
    return nil
  end
  local entry = { position = position }
  for i = 1, #flat, 2 do
    entry[flat[i]] = flat[i + 1]
  end
  return entry
end

local function find(entry_id)
  local position = call('HGET', 'id', entry_id)
  return position and read(position)
end

local function set(entry, fields)
  local flat = {}
  for name, value in pairs(fields) do
    entry[name] = value
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  call('HSET', 'e:' .. entry.position, unpack(flat))
end

local function lane_of(entry)
  return entry.schema .. '|' .. entry.operation .. '|' .. entry.provider_id
end

local function index_pending(entry)
  local lane = lane_of(entry)
  call('SADD', 'lanes', lane)
  call('ZADD', 'due:' .. lane, entry.due, entry.position)
  call('ZADD', 'since', entry.pending_since, entry.position)
end

local function leave_lane(lane, position)
  call('ZREM', 'due:' .. lane, position)
  call('ZREM', 'since', position)
  if call('EXISTS', 'due:' .. lane) == 0 then
    call('SREM', 'lanes', lane)
  end
end

local function unindex_pending(entry)
  leave_lane(lane_of(entry), entry.position)
end

-- Drop an entry whose record is gone, deleted by hand or evicted, from these sets: it must not hold the others up.
local function drop_lost(position, ...)
  for _, key in ipairs({ 'all', ... }) do
    call('ZREM', key, position)
  end
end

local function set_due(entry, due)
  set(entry, { due = time_text(due) })
  call('ZADD', 'due:' .. lane_of(entry), entry.due, entry.position)
end

local function set_state(entry, state)
  call('ZREM', 'state:' .. entry.state, entry.position)
  call('ZADD', 'state:' .. state, entry.position, entry.position)
  if entry.state == 'PENDING' then
    unindex_pending(entry)
  end
  set(entry, { state = state, is_leased = '0' })
  if state == 'PENDING' then
    index_pending(entry)
  end
end

local function open(entry)
  call('HSET', 'open', entry.digest, entry.position)
end

local function unopen(entry)
  if call('HGET', 'open', entry.digest) == entry.position then
    call('HDEL', 'open', entry.digest)
  end
end

local function drop_request(entry)
  if call('HDEL', 'e:' .. entry.position, 'ciphertext') == 1 and call('HINCRBY', 'key_uses', entry.key_id, -1) <= 0 then
    call('HDEL', 'key_uses', entry.key_id)
  end
end

local function finish(entry, state)
  set_state(entry, state)
  unopen(entry)
  drop_request(entry)
  set(entry, { ended = time_text(now) })
  call('ZADD', 'ended', entry.ended, entry.position)
end

local function settle(entry)
  if entry.state == 'SETTLED' then
    return false
  end
  finish(entry, 'SETTLED')
  return true
end

-- calls of an entry: a list of {ticket, call id, identities} ------------------------------------------------------

local function calls_of(entry)
  return entry.calls == '' and {} or cjson.decode(entry.calls)
end

local function set_calls(entry, calls)
  set(entry, { calls = #calls == 0 and '' or cjson.encode(calls) })
end

local function keys_of(one)
  local keys = { 'c:' .. one[2] }
  for _, identity in ipairs(one[3]) do
    keys[#keys + 1] = 'c:' .. one[2] .. '|' .. identity
  end
  return keys
end

-- Take a call out of the indices, except where another of the entry's calls needs them.
local function unindex_call(entry, one, others)
  call('DEL', 't:' .. one[1])
  local needed = {}
  for _, other in ipairs(others) do
    for _, key in ipairs(keys_of(other)) do
      needed[key] = true
    end
  end
  for _, key in ipairs(keys_of(one)) do
    if not needed[key] then
      call('ZREM', key, entry.position)
    end
  end
end

local function attach(entry, ticket, call_id, identities)
  local calls, one = calls_of(entry), { ticket, call_id, identities }
  calls[#calls + 1] = one
  call('SET', 't:' .. ticket, entry.position)
  for _, key in ipairs(keys_of(one)) do
    call('ZADD', key, entry.position, entry.position)
  end
  if #calls > arguments.calls_max then
    unindex_call(entry, table.remove(calls, 1), calls)
    -- The dropped call may be under way: from now on nobody knows when the last call has ended.
    set(entry, { is_owed = '1' })
  end
  set_calls(entry, calls)
end

local function delete(entry)
  for _, one in ipairs(calls_of(entry)) do
    unindex_call(entry, one, {})
  end
  if entry.state == 'PENDING' then
    unindex_pending(entry)
  end
  unopen(entry)
  drop_request(entry)
  call('ZREM', 'state:' .. entry.state, entry.position)
  call('ZREM', 'all', entry.position)
  call('ZREM', 'ended', entry.position)
  call('HDEL', 'id', entry.entry_id)
  call('DEL', 'e:' .. entry.position)
end

-- methods --------------------------------------------------------------------------------------------------------

local methods = {}

local function insert(new, ciphertext)
  local position = string.format('%016d', call('INCR', 'position'))
  local entry = { position = position }
  set(entry, {
    position = position, entry_id = new.entry_id, schema = new.schema, state = new.never_repeat and 'REJECTED' or 'PENDING',
    operation = new.operation, provider_id = new.provider_id, digest = new.digests[1], key_id = new.key_id,
    ciphertext = ciphertext, fingerprint = new.fingerprint, created = time_text(now), pending_since = time_text(now),
    due = time_text(now + new.due_in_s), is_leased = '0', is_owed = new.is_owed and '1' or '0', fence = '0',
    attempts = '0', reason = new.reason, code = new.code, never_repeat = new.never_repeat and '1' or '0',
    ended = '0', closed_reason = '', calls = '',
  })
  call('HSET', 'id', entry.entry_id, position)
  call('ZADD', 'all', position, position)
  call('ZADD', 'state:' .. entry.state, position, position)
  call('HINCRBY', 'key_uses', entry.key_id, 1)
  if entry.state == 'PENDING' then
    index_pending(entry)
  end
  open(entry)
  return entry
end

local function update(entry, new)
  local due = now + new.due_in_s
  local is_held = entry.is_owed == '0' and entry.is_leased == '0'
  if new.never_repeat then
    set_state(entry, 'REJECTED')
    set(entry, { never_repeat = '1', is_owed = '1', reason = new.reason, code = new.code })
  elseif new.is_owed then
    set(entry, { is_owed = '1', reason = new.reason, code = new.code })
    if is_held then
      set_due(entry, due)
    end
  elseif is_held and due > tonumber(entry.due) then
    set_due(entry, due)
  end
end

local function add(new, ciphertext)
  local known = call('GET', 't:' .. new.ticket)
  if known == '' then
    return { '', 'CLOSED', 0 }
  end
  -- The entry that the call became may list it no more (calls_max).
  local position = known or call('HGET', 'id', new.entry_id)
  for _, digest in ipairs(new.digests) do
    position = position or call('HGET', 'open', digest)
  end
  local entry = position and read(position)
  local is_new = not entry
  if is_new then
    entry = insert(new, ciphertext)
  end
  if is_new or not known then
    attach(entry, new.ticket, new.call_id, new.identities)
  end
  if not is_new and entry.state == 'PENDING' then
    update(entry, new)
  end
  if is_new and entry.state == 'PENDING' then
    return NEW_AND_PENDING
  end
  return { entry.entry_id, entry.state, is_new and 1 or 0 }
end

local function end_call(ticket, is_success)
  local position = call('GET', 't:' .. ticket)
  if position == '' then
    return
  end
  local entry = position and read(position)
  if not entry then
    call('SET', 't:' .. ticket, '', 'EX', ENDED_EARLY_KEPT_S)
    return
  end
  local others = {}
  local ended
  for _, one in ipairs(calls_of(entry)) do
    if one[1] == ticket then
      ended = one
    else
      others[#others + 1] = one
    end
  end
  unindex_call(entry, ended, others)
  set_calls(entry, others)
  if entry.state == 'PENDING' and entry.is_owed == '0' and #others == 0 then
    delete(entry)
  elseif is_success then
    settle(entry)
  end
end

-- Whether a later batch of the same writer came first: a client that gave up a request does not take it back.
local function is_overtaken()
  if not arguments.writer_id then
    return false
  end
  local last = call('GET', 'w:' .. arguments.writer_id)
  if last and tonumber(last) >= arguments.number then
    return true
  end
  call('SET', 'w:' .. arguments.writer_id, string.format('%d', arguments.number), 'EX', WRITER_KEPT_S)
  return false
end

function methods.write()
  local results = {}
  if is_overtaken() then
    return false
  end
  for i, one in ipairs(arguments.writes) do
    if one.entry_id then
      results[i] = add(one, string.sub(ARGV[3], one.first, one.last))
    else
      end_call(one.ticket, one.is_success)
      results[i] = ENDED
    end
  end
  -- One text: a client in Python reads thousands of small replies slowly.
  return #results == 0 and '[]' or cjson.encode(results)
end

-- The time, then two replies for each entry: its fields as JSON, and the ciphertext, which JSON cannot hold. A client in
-- Python reads a reply for each field slowly: 25 ms for a hundred entries. Of one that is lost, the position alone.
local function shown(entries)
  local results = { time_text(now) }
  for _, one in ipairs(entries) do
    local entry = one.is_lost and { position = one.position } or read(one.position)
    if entry then
      local ciphertext = entry.ciphertext or ''
      entry.ciphertext = nil
      results[#results + 1] = cjson.encode(entry)
      results[#results + 1] = ciphertext
    end
  end
  return results
end

function methods.take()
  local known, found, taken, left = {}, {}, {}, arguments.at_most
  for _, operation in ipairs(arguments.operations) do
    known[operation] = true
  end
  for _, lane in ipairs(call('SMEMBERS', 'lanes')) do
    local schema, operation, provider_id = string.match(lane, '^(%d+)|([^|]*)|(%d+)$')
    if schema and tonumber(schema) <= arguments.schema and known[operation] then
      local share = math.min(arguments.limit, left[provider_id] or arguments.limit)
      local due = call('ZRANGEBYSCORE', 'due:' .. lane, '-inf', time_text(now), 'WITHSCORES', 'LIMIT', 0, share)
      for i = 1, #due, 2 do
        found[#found + 1] = { position = due[i], due = tonumber(due[i + 1]), provider_id = provider_id, lane = lane }
      end
    end
  end
  table.sort(found, function(a, b)
    return a.due < b.due or (a.due == b.due and a.position < b.position)
  end)
  for _, one in ipairs(found) do
    if #taken < arguments.limit and (left[one.provider_id] or 1) > 0 then
      if left[one.provider_id] then
        left[one.provider_id] = left[one.provider_id] - 1
      end
      local entry = read(one.position)
      if entry then
        set(entry, { is_leased = '1', fence = entry.fence + 1, attempts = entry.attempts + 1 })
        set_due(entry, now + arguments.lease_s)
      else
        leave_lane(one.lane, one.position)
        drop_lost(one.position, 'state:PENDING')
        entry = { position = one.position, is_lost = true }
      end
      taken[#taken + 1] = entry
    end
  end
  return shown(taken)
end

local function owned()
  local entry = find(arguments.entry_id)
  return entry and entry.state == 'PENDING' and tonumber(entry.fence) == arguments.fence and entry
end

function methods.renew()
  local entry = owned()
  if not entry then
    return 0
  end
  set(entry, { is_leased = '1' })
  set_due(entry, now + arguments.due_in_s)
  return 1
end

function methods.release()
  local entry = owned()
  if not entry then
    return 0
  end
  set(entry, { attempts = entry.attempts - entry.is_leased, is_leased = '0' })
  set_due(entry, now)
  return 1
end

function methods.postpone()
  local entry = owned()
  if not entry then
    return 0
  end
  set(entry, { is_leased = '0', reason = arguments.reason, code = arguments.code })
  set_due(entry, now + arguments.due_in_s)
  return 1
end

function methods.end_unsettled()
  local entry = owned()
  if not entry then
    return 0
  end
  set_state(entry, arguments.state)
  set(entry, {
    is_owed = '1', reason = arguments.reason, code = arguments.code, never_repeat = arguments.never_repeat and '1' or '0',
  })
  if not arguments.never_repeat then
    unopen(entry)
  end
  return 1
end

function methods.expire()
  local known, expired, offset, step = {}, {}, 0, 100
  for _, operation in ipairs(arguments.operations) do
    known[operation] = true
  end
  local oldest = { '-inf', time_text(now - arguments.older_than_s), 'LIMIT' }
  local old = call('ZRANGEBYSCORE', 'since', oldest[1], oldest[2], oldest[3], offset, step)
  local found = {}
  while #old > 0 and #found < arguments.limit do
    for _, position in ipairs(old) do
      local entry = read(position)
      local is_free = entry and (entry.is_leased == '0' or tonumber(entry.due) <= now)
      if is_free and known[entry.operation] and tonumber(entry.schema) <= arguments.schema and #found < arguments.limit then
        found[#found + 1] = entry
      end
    end
    offset = offset + step
    old = call('ZRANGEBYSCORE', 'since', oldest[1], oldest[2], oldest[3], offset, step)
  end
  for _, entry in ipairs(found) do
    set_state(entry, 'UNRESOLVED')
    set(entry, { is_owed = '1' })
    unopen(entry)
    expired[#expired + 1] = entry.entry_id
  end
  return expired
end

function methods.settle()
  local settled = {}
  for _, entry_id in ipairs(arguments.entry_ids) do
    local entry = find(entry_id)
    if entry and settle(entry) then
      settled[#settled + 1] = entry_id
    end
  end
  return settled
end

-- One part of the REJECTED entries, from the oldest on: a script must not hold the server up.
function methods.reclassify()
  local codes, settled, last = {}, {}, ''
  for _, code in ipairs(arguments.codes) do
    codes[code] = true
  end
  local part = call('ZRANGEBYSCORE', 'state:REJECTED', '(' .. arguments.after, '+inf', 'LIMIT', 0, arguments.limit)
  for _, position in ipairs(part) do
    local entry = read(position)
    if entry and codes[entry.code] and entry.never_repeat == '0' then
      settle(entry)
      settled[#settled + 1] = entry.entry_id
    end
    last = position
  end
  return { last, settled }
end

function methods.purge()
  local old = call('ZRANGEBYSCORE', 'ended', '-inf', time_text(now - arguments.keep_s), 'LIMIT', 0, arguments.limit)
  for _, position in ipairs(old) do
    local entry = read(position)
    if entry then
      delete(entry)
    else
      drop_lost(position, 'ended', 'state:SETTLED', 'state:CLOSED')
    end
  end
  return #old
end

function methods.retry()
  local entry = find(arguments.entry_id)
  if not entry then
    return 'NOT_FOUND'
  elseif FINISHED[entry.state] then
    return 'FINISHED'
  elseif entry.never_repeat == '1' then
    return 'NEVER_REPEAT'
  end
  local other = call('HGET', 'open', entry.digest)
  if other and other ~= entry.position then
    return 'OTHER_IS_OPEN'
  end
  local is_leased, due = entry.is_leased, entry.is_leased == '1' and entry.due or time_text(now)
  set(entry, { due = due, pending_since = time_text(now), is_owed = '1' })
  set_state(entry, 'PENDING')
  set(entry, { is_leased = is_leased })
  open(entry)
  return 'DONE'
end

function methods.close_entry()
  local entry = find(arguments.entry_id)
  if not entry then
    return 'NOT_FOUND'
  elseif FINISHED[entry.state] then
    return 'FINISHED'
  end
  finish(entry, 'CLOSED')
  set(entry, { closed_reason = arguments.reason })
  return 'DONE'
end

function methods.get()
  local entry = find(arguments.entry_id)
  return shown(entry and { entry } or {})
end

function methods.of_call()
  local keys, seen, newest, count = {}, {}, nil, 0
  if not arguments.identities then
    keys[1] = 'c:' .. arguments.call_id
  else
    for i, identity in ipairs(arguments.identities) do
      keys[i] = 'c:' .. arguments.call_id .. '|' .. identity
    end
  end
  for _, key in ipairs(keys) do
    for _, position in ipairs(call('ZRANGE', key, 0, -1)) do
      if not seen[position] then
        seen[position] = true
        count = count + 1
        newest = (not newest or position > newest) and position or newest
      end
    end
  end
  return { count, shown(newest and { { position = newest } } or {}) }
end

function methods.page()
  local key = arguments.state == '' and 'all' or 'state:' .. arguments.state
  local found = {}
  for i, position in ipairs(call('ZREVRANGEBYSCORE', key, '(' .. arguments.below, '-inf', 'LIMIT', 0, arguments.limit)) do
    found[i] = { position = position }
  end
  return shown(found)
end

function methods.counts()
  local counts = {}
  for i, state in ipairs(arguments.states) do
    counts[i] = call('ZCARD', 'state:' .. state)
  end
  local oldest = call('ZRANGE', 'since', 0, 0, 'WITHSCORES')
  return { counts, time_text(oldest[2] and now - tonumber(oldest[2]) or 0) }
end

function methods.key_use()
  return { call('GET', 'key_check') or '', call('HKEYS', 'key_uses') }
end

function methods.set_key_check()
  call('SET', 'key_check', arguments.key_id)
  return 1
end

return methods[method]()
