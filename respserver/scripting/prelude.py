"""The Lua side of scripts: what a script finds as globals, and nothing else.

Rules: globals are built from an allow-list; libraries are shown through tables that cannot be
changed. Functions of Python stay upvalues of Lua functions and are never values a script can hold.
Once a script is to end (killed, or out of memory), pcall, xpcall and coroutines raise again what
they caught, so the script cannot go on. Bytecode is refused wherever source is taken.
"""

PRELUDE = r"""
local py_call, py_raise, py_error, py_log, py_sha1, py_library, py_tick, limit = ...
local as_function = python.as_function
local real = _G
local dbg, error, type, pairs, next, select = debug, error, type, pairs, next, select
local rawset, rawget, setmetatable, getmetatable = rawset, rawget, setmetatable, getmetatable
local tostring, unpack, loadstring, setfenv = tostring, unpack, loadstring, setfenv
local pcall, xpcall, co, newproxy = pcall, xpcall, coroutine, newproxy
local sub, byte, concat = string.sub, string.byte, table.concat
local OUT_OF_MEMORY = 'not enough memory'
local READONLY = 'Attempt to modify a readonly table'
local ending                  -- why the script ends, once it must

-- the line of the script that runs, or ran, above so many levels
local function locate(err, from)
  for level = from, 200 do
    local info = dbg.getinfo(level, 'Sl')
    if not info then return end
    if info.source == '@user_script' then
      err.source, err.line = info.source, info.currentline
      return
    end
  end
end

local function hook()
  if not ending then
    ending = py_tick()
    if ending then locate(ending, 3) end
  end
  if ending then
    dbg.sethook(hook, '', 100)  -- time for `place` to see it
    error(ending, 0)
  end
end

-- what the kernel refuses comes as an exception of Python, which no script may hold
local function clean(err)
  if type(err) ~= 'userdata' then return err end
  local text = py_error()
  if text == '' then return OUT_OF_MEMORY end  -- what else could fail in a callback
  return {err = text}
end

local function caught(ok, err, ...)
  if not ok then err = clean(err) end
  if not ok and err == OUT_OF_MEMORY then ending = ending or {err = 'ERR ' .. OUT_OF_MEMORY} end
  if ending then error(ending, 0) end
  return ok, err, ...
end

local protected = setmetatable({}, {__mode = 'k'})
local function readonly(t)
  local proxy = setmetatable({}, {
    __index = t,
    __newindex = function() error(READONLY, 2) end,
    __metatable = false,
  })
  protected[proxy] = true
  return proxy
end

local function refuse(message)
  error({err = 'ERR ' .. message}, 0)
end

local function failed(message)
  return {err = message}
end

local function single(kind)
  return function(...)
    local text = ...
    if select('#', ...) ~= 1 or type(text) ~= 'string' then
      return failed('ERR wrong number or type of arguments')
    end
    if kind == 'ok' then return {ok = text} end
    if sub(text, 1, 1) == '-' then text = sub(text, 2) end
    if not text:find(' ', 1, true) then text = 'ERR ' .. text end
    return failed((text:gsub('[\r\n]+$', '')))
  end
end

local function library(name, names)
  local found = {}
  for _, word in pairs(names) do
    found[word] = function(...)
      local ok, value = py_library(name .. '.' .. word, ...)
      if not ok then refuse(value) end
      return unpack(value, 1, value.n)
    end
  end
  return found
end

local redis = {
  -- functions of C, so that a script's line is known where it ends with a call
  call = as_function(py_raise),
  pcall = as_function(py_call),
  error_reply = single('err'),
  status_reply = single('ok'),
  sha1hex = function(...)
    if select('#', ...) ~= 1 then refuse('wrong number of arguments') end
    return py_sha1(tostring((...)))
  end,
  log = function(...)
    if select('#', ...) < 2 then
      refuse('redis.log() requires two arguments or more.')
    end
    local level = ...
    if type(level) ~= 'number' then refuse('First argument must be a number (log level).') end
    if level < 0 or level > 3 then refuse('Invalid log level.') end
    local words = {}
    for i = 2, select('#', ...) do words[#words + 1] = tostring((select(i, ...))) end
    py_log(level, concat(words, ' '))
  end,
  setresp = function(...)
    if select('#', ...) ~= 1 then refuse('redis.setresp() requires one argument.') end
    local proto = ...
    if proto ~= 2 and proto ~= 3 then refuse('RESP version must be 2 or 3.') end
    py_call(proto, '\0setresp')
  end,
  set_repl = function(...)
    if select('#', ...) ~= 1 then refuse('redis.set_repl() requires one argument.') end
    local flags = ...
    if type(flags) ~= 'number' or flags < 0 or flags > 3 then
      refuse('Invalid replication flags. Please use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.')
    end
  end,
  replicate_commands = function() return true end,
  breakpoint = function() return false end,
  debug = function() end,
  acl_check_cmd = function(...)
    if select('#', ...) == 0 then
      refuse('Please specify at least one argument for this redis.acl_check_cmd() call')
    end
    return true
  end,
  REDIS_VERSION = limit.version, REDIS_VERSION_NUM = limit.level,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_SLAVE = 1, REPL_REPLICA = 1, REPL_AOF = 2, REPL_ALL = 3,
}

local G = {}
local env = setmetatable({}, {
  __index = function(_, name)
    local value = rawget(G, name)
    if value == nil then
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end
    return value
  end,
  __newindex = function() error(READONLY, 2) end,
  __metatable = false,
})
protected[env] = true

for _, name in pairs({'assert', 'error', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'select',
    'setmetatable', 'tonumber', 'tostring', 'type', 'unpack', '_VERSION'}) do
  G[name] = real[name]
end
G._G = env
G.getmetatable = function(...)
  if type((...)) == 'string' then return nil end
  return getmetatable(...)
end
G.rawset = function(t, name, value)
  if protected[t] then error(READONLY, 2) end
  return rawset(t, name, value)
end
local function message(ok, err, ...)
  if not ok and type(err) == 'table' and type(rawget(err, 'err')) == 'string' then
    return ok, rawget(err, 'err')
  end
  return ok, err, ...
end
G.pcall = function(...) return message(caught(pcall(...))) end
G.xpcall = function(f, handler)
  return caught(xpcall(f, function(err) return handler(clean(err)) end))
end
G.collectgarbage = function(what)
  if what == nil or what == 'collect' or what == 'step' or what == 'count' then
    return collectgarbage(what or 'collect')
  end
  error("bad argument #1 to 'collectgarbage'", 2)
end
G.gcinfo = gcinfo
G.loadstring = function(text, name)
  if type(text) ~= 'string' then error('source must be a string', 2) end
  if byte(text) == 27 then return nil, 'bytecode is refused' end
  local made, why = loadstring(text, name)
  if not made then return nil, why end
  return setfenv(made, env)
end
G.load = function(pieces, name)
  if type(pieces) ~= 'function' then error('a function must give the pieces', 2) end
  local found = {}
  while true do
    local piece = pieces()
    if piece == nil or piece == '' then break end
    found[#found + 1] = piece
  end
  return G.loadstring(concat(found), name or '=(load)')
end

local coroutines = {
  running = co.running, status = co.status, yield = co.yield,
  create = function(f)
    local made = co.create(f)
    dbg.sethook(made, hook, '', limit.instructions)
    return made
  end,
  resume = function(...) return caught(co.resume(...)) end,
}
coroutines.wrap = function(f)
  local made = coroutines.create(f)
  local function passed(ok, ...)
    if not ok then error((...), 0) end
    return ...
  end
  return function(...) return passed(coroutines.resume(made, ...)) end
end

local strings = {}
for name, value in pairs(string) do
  if name ~= 'dump' then strings[name] = value end
end
string.dump = nil
local of_strings = getmetatable('')
of_strings.__index = readonly(strings)
of_strings.__metatable = false

local null = newproxy(false)
local cjson = library('cjson', {'encode', 'decode', 'encode_sparse_array', 'encode_max_depth',
  'decode_max_depth', 'encode_number_precision', 'encode_keep_buffer', 'encode_invalid_numbers',
  'decode_invalid_numbers', 'decode_array_with_array_mt'})
cjson.null = null
cjson._NAME = 'cjson'
cjson._VERSION = '2.1.0'
local maths = {}
for name, value in pairs(math) do maths[name] = value end

G.redis = readonly(redis)
G.server = G.redis
G.string = readonly(strings)
G.table = readonly(table)
G.math = readonly(maths)
G.coroutine = readonly(coroutines)
G.os = readonly({clock = os.clock})
G.cjson = readonly(cjson)
G.cmsgpack = readonly(library('cmsgpack', {'pack', 'unpack', 'unpack_one', 'unpack_limit'}))
G.struct = readonly(library('struct', {'pack', 'unpack', 'size'}))
G.bit = readonly(library('bit', {'tobit', 'tohex', 'bnot', 'band', 'bor', 'bxor', 'lshift',
  'rshift', 'arshift', 'rol', 'ror', 'bswap'}))

local function place(err)
  if ending then return ending end
  err = clean(err)
  local told = {}
  if type(err) == 'table' then
    told.err = err.err
    if type(told.err) == 'number' then told.err = tostring(told.err) end
    if type(told.err) ~= 'string' then told.err = 'ERR unknown error' end
  else
    told.err = 'ERR ' .. tostring(err)
  end
  locate(told, 3)
  return told
end

for name in pairs(real) do
  if name ~= '_G' and name ~= '_VERSION' then real[name] = nil end
end

local api = {null = null, rawget = rawget}
function api.compile(text)
  if byte(text) == 27 then return nil, 'bytecode is refused' end
  local made, why = loadstring(text, '@user_script')
  if not made then return nil, why end
  return setfenv(made, env)
end
function api.run(f, keys, argv)
  for proxy in pairs(protected) do  -- table.insert of an earlier script asked no metatable
    for name in next, proxy do rawset(proxy, name, nil) end
  end
  ending = nil
  G.KEYS, G.ARGV = keys, argv
  dbg.sethook(hook, '', limit.instructions)
  local ok, value = xpcall(f, place)
  dbg.sethook()
  G.KEYS, G.ARGV = nil, nil
  if ending then return false, ending end
  return ok, value
end
return api
"""
