-- Functions of the libraries that must not outlast the limits, or that are kinder than those of Lua 5.1. Run once in each state.
local check, modules = ...
local pcall, format, type, tostring, unpack = pcall, string.format, type, tostring, unpack

-- A script cannot catch the end of its time.
local function done(...)
  check()
  return ...
end

function _G.pcall(...)
  return done(pcall(...))
end

-- The handler runs when the error is over: what Lua runs while the clock is being read, it does not count.
local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  return false, handler(...)
end

function _G.xpcall(run, handler, ...)
  return handled(handler, done(pcall(run, ...)))
end

function require(name)
  local module = modules[name]
  if module == nil then
    error("module '" .. tostring(name) .. "' not found: there are only string, table, math and os", 2)
  end
  return module
end

function print() end

function math.randomseed() end

-- Values that are no text are shown, as Argo CD shows them.
function string.format(pattern, ...)
  local args, count = { ... }, select("#", ...)
  for index = 1, count do
    local kind = type(args[index])
    if kind ~= "string" and kind ~= "number" then
      args[index] = tostring(args[index])
    end
  end
  return format(pattern, unpack(args, 1, count))
end

-- The library's own sort compares inside C, where no time is counted.
function table.sort(list, less)
  if type(list) ~= "table" then
    error("bad argument #1 to 'sort' (table expected, got " .. type(list) .. ")", 2)
  end
  less = less or function(one, two)
    return one < two
  end
  local from, into, count, width = list, {}, #list, 1
  while width < count do
    for low = 1, count, 2 * width do
      local left, middle = low, low + width
      local right, high = middle, low + 2 * width
      if middle > count + 1 then middle, right = count + 1, count + 1 end
      if high > count + 1 then high = count + 1 end
      for place = low, high - 1 do
        if left < middle and (right >= high or not less(from[right], from[left])) then
          into[place] = from[left]
          left = left + 1
        else
          into[place] = from[right]
          right = right + 1
        end
      end
    end
    from, into, width = into, from, width * 2
  end
  if from ~= list then
    for place = 1, count do
      list[place] = from[place]
    end
  end
end
