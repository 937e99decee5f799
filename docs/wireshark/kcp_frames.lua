-- The extension frames in kcp-transport/PROTOCOL.md, for kcp.lua.
--
-- Nothing is done when this file is loaded, so it may lie in the folder of plugins.

local FRAMES = {
  "Hello", "Fin", "FinAck", "Reset", "Ping", "Pong", "PathChallenge", "PathResponse", "Received",
}
local CODES = {
  [0xffffff01] = "dropped before all data was read", [0xffffff02] = "time-out, or the peer restarted",
  [0xffffff03] = "protocol violated", [0xffffff04] = "going away", [0xffffff05] = "given up",
  [0xffffff06] = "backlog full", [0xffffff07] = "over budget",
}

-- Returns a function that adds the frames of a payload, given the protocol, its fields and its expert information.
local function adder(kcp, f, problem)
  -- Adds a value of a frame, and counts what is left. Each is little endian.
  local Reader = {}
  Reader.__index = Reader

  function Reader:add(field, bytes)
    local part = self.range:range(self.at, bytes)
    self.at = self.at + bytes
    self.tree:add_le(field, part)
    return part
  end

  local function add_hello(reader)
    local flags = reader.range:range(0, 1)
    reader:add(f.confirmed, 1)
    local capabilities = reader:add(f.migration, 4)
    reader.tree:add_le(f.received, capabilities)
    reader:add(f.token, 8)
    reader:add(f.echo, 8)
    return flags:uint() % 2 == 1 and " confirmed" or ""
  end

  local function add_end(reader)
    reader:add(f.target, 8)
    return " end=" .. reader:add(f.finish, 4):le_uint()
  end

  local function add_reset(reader)
    reader:add(f.target, 8)
    local code = reader:add(f.code, 4):le_uint()
    return " " .. (CODES[code] or ("code=" .. code))
  end

  local function add_number(reader)
    reader:add(f.number, 8)
    return ""
  end

  local function add_response(reader)
    reader:add(f.target, 8)
    return add_number(reader)
  end

  local function add_received(reader)
    reader:add(f.target, 8)
    local base = reader:add(f.first, 4):le_uint()
    local bitmap = reader:add(f.bitmap, reader.range:len() - reader.at)
    local count = 0
    for i = 0, bitmap:len() - 1 do
      local part = bitmap:range(i, 1)
      local bits = part:uint()
      for bit = 0, 7 do
        if bits % 2 == 1 then
          count = count + 1
          reader.tree:add(f.arrived, part, (base + 8 * i + bit) % 2 ^ 32):set_generated()
        end
        bits = math.floor(bits / 2)
      end
    end
    return " " .. count .. " from " .. base
  end

  -- Bytes of the shortest value, and what adds it.
  local VALUES = {
    { 21, add_hello }, { 12, add_end }, { 12, add_end }, { 12, add_reset }, { 8, add_number }, { 8, add_number },
    { 8, add_number }, { 16, add_response }, { 13, add_received },
  }

  -- The payload of a window update, if it has frames. Returns their names.
  local function add_extension(range, tree)
    if range:len() < 5 or range:range(0, 4):raw() ~= "KCPX" then return end
    tree = tree:add(kcp, range, "Extension")
    tree:add(f.version, range:range(4, 1))
    if range:range(4, 1):uint() ~= 1 then
      tree:add(f.rest, range:range(5))
      return "extension of another version"
    end
    local names, at = {}, 5
    while at < range:len() do
      if at + 2 > range:len() or at + 2 + range:range(at + 1, 1):uint() > range:len() then
        tree:add_proto_expert_info(problem.malformed, "Frame is longer than the payload")
        break
      end
      local kind, length = range:range(at, 1):uint(), range:range(at + 1, 1):uint()
      local name = FRAMES[kind] or ("frame " .. kind)
      local frame = tree:add(kcp, range:range(at, 2 + length), "Frame: " .. name)
      frame:add(f.kind, range:range(at, 1))
      frame:add(f.length, range:range(at + 1, 1))
      local known = VALUES[kind]
      if known and length >= known[1] then
        local reader = setmetatable({ range = range:range(at + 2, length), tree = frame, at = 0 }, Reader)
        local summary = known[2](reader)
        frame:append_text(summary)
        name = name .. summary
        if reader.at < length then frame:add(f.rest, reader.range:range(reader.at)) end
      elseif length > 0 then
        frame:add(f.value, range:range(at + 2, length))
        if known then frame:add_proto_expert_info(problem.malformed, "Value is too short") end
      end
      names[#names + 1] = name
      at = at + 2 + length
    end
    return table.concat(names, ", ")
  end

  return add_extension
end

return { names = FRAMES, codes = CODES, adder = adder }
