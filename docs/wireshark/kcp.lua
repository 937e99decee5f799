-- Wireshark dissector for KCP as kcp-go sends it, and for the extensions in kcp-transport/PROTOCOL.md.
--
-- Dissects segments, FEC headers, unreliable (out-of-band) datagrams and extension frames. Decrypts with a
-- password or key from the preferences. Does not rebuild lost packets from parity, and does not join the
-- stream's data. docs/wireshark.md describes installation and use.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local ciphers = dofile(folder .. "kcp_ciphers.lua")
local frames = dofile(folder .. "kcp_frames.lua")

local kcp = Proto("kcp", "KCP")

-- Preferences -------------------------------------------------------------------------------------------

local NAMES = {
  "null", "none", "aes", "aes-128", "aes-192", "salsa20", "sm4", "twofish", "3des", "cast5", "blowfish", "tea",
  "xtea", "xor", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-poly1305",
}
local choices = {}
for i, name in ipairs(NAMES) do choices[i] = { i, name, i } end

kcp.prefs.ports = Pref.range("UDP ports", "", "Ports whose datagrams are KCP. Without encryption, KCP is found on other ports too", 65535)
kcp.prefs.cipher = Pref.enum("Cipher", 1, "The cipher, by the name that kcptun uses. null: no encryption", choices, false)
kcp.prefs.password = Pref.string("Password", "", "The key is derived from it as kcptun does")
kcp.prefs.salt = Pref.string("Salt", "kcp-go", "The salt of the derivation; kcptun's is kcp-go")
kcp.prefs.key = Pref.string("Key", "", "The key itself in hexadecimal digits, instead of a password")

-- Fields ------------------------------------------------------------------------------------------------

local COMMANDS = { [81] = "PUSH", [82] = "ACK", [83] = "WASK", [84] = "WINS" }
local SHARDS = { [0xf1] = "data", [0xf2] = "parity", [0xf3] = "out-of-band" }
local f = {
  nonce = ProtoField.bytes("kcp.nonce", "Nonce"),
  crc32 = ProtoField.uint32("kcp.crc32", "Checksum", base.HEX),
  tag = ProtoField.bytes("kcp.tag", "Authentication tag"),
  encrypted = ProtoField.bytes("kcp.encrypted", "Encrypted"),
  seqid = ProtoField.uint32("kcp.fec.seqid", "Number"),
  shard = ProtoField.uint16("kcp.fec.type", "Type", base.HEX, SHARDS),
  size = ProtoField.uint16("kcp.fec.size", "Size", base.DEC, nil, nil, "Bytes from this field to the end"),
  parity = ProtoField.bytes("kcp.fec.parity", "Parity"),
  oob = ProtoField.bytes("kcp.oob.data", "Datagram"),
  conv = ProtoField.uint32("kcp.conv", "Conversation", base.HEX),
  cmd = ProtoField.uint8("kcp.cmd", "Command", base.DEC, COMMANDS),
  frg = ProtoField.uint8("kcp.frg", "Fragments left"),
  wnd = ProtoField.uint16("kcp.wnd", "Window", base.DEC, nil, nil, "Segments that the sender can receive"),
  ts = ProtoField.uint32("kcp.ts", "Timestamp"),
  sn = ProtoField.uint32("kcp.sn", "Sequence number"),
  una = ProtoField.uint32("kcp.una", "Unacknowledged", base.DEC, nil, nil, "All segments before it have arrived"),
  len = ProtoField.uint32("kcp.len", "Length"),
  data = ProtoField.bytes("kcp.data", "Data"),
  rest = ProtoField.bytes("kcp.rest", "Not dissected"),
  version = ProtoField.uint8("kcp.ext.version", "Version"),
  kind = ProtoField.uint8("kcp.ext.type", "Type", base.DEC, frames.names),
  length = ProtoField.uint8("kcp.ext.length", "Length"),
  value = ProtoField.bytes("kcp.ext.value", "Value"),
  target = ProtoField.uint64("kcp.ext.tag", "Tag", base.HEX, nil, nil, "The token of the receiver"),
  confirmed = ProtoField.bool("kcp.hello.confirmed", "Confirmed", 8, nil, 1),
  migration = ProtoField.bool("kcp.hello.migration", "Migration", 32, nil, 1),
  received = ProtoField.bool("kcp.hello.received", "Received", 32, nil, 2),
  token = ProtoField.uint64("kcp.hello.token", "Token", base.HEX),
  echo = ProtoField.uint64("kcp.hello.echo", "Echo", base.HEX),
  finish = ProtoField.uint32("kcp.fin.end", "End", base.DEC, nil, nil, "The number after the last segment"),
  code = ProtoField.uint32("kcp.reset.code", "Code", base.HEX, frames.codes),
  number = ProtoField.uint64("kcp.ext.data", "Data", base.HEX),
  first = ProtoField.uint32("kcp.received.base", "Base"),
  bitmap = ProtoField.bytes("kcp.received.bitmap", "Bitmap"),
  arrived = ProtoField.uint32("kcp.received.sn", "Has arrived"),
}
kcp.fields = f

local problem = {
  cipher = ProtoExpert.new("kcp.not_decrypted", "Cipher cannot be used", expert.group.DECRYPTION, expert.severity.WARN),
  key = ProtoExpert.new("kcp.not_authentic", "Not authentic", expert.group.DECRYPTION, expert.severity.WARN),
  malformed = ProtoExpert.new("kcp.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR),
}
kcp.experts = problem

local add_extension = frames.adder(kcp, f, problem)

-- Segments ----------------------------------------------------------------------------------------------

local HEADER = 24

-- Adds the segment at the front of `range`. Returns its length and a summary; nothing if there is none.
local function add_segment(range, root)
  local left = range:len()
  local tree = root:add(kcp, range, "Segment")
  if left < HEADER then
    tree:add(f.rest, range)
    tree:add_proto_expert_info(problem.malformed, "Too short for a segment")
    return
  end
  local function value(at, bytes) return range:range(at, bytes):le_uint() end
  local cmd, sn, length = value(4, 1), value(12, 4), value(20, 4)
  local name = COMMANDS[cmd] or ("command " .. cmd)
  tree:set_len(math.min(HEADER + length, left))
  tree:set_text("Segment: " .. name)
  tree:add_le(f.conv, range:range(0, 4))
  tree:add_le(f.cmd, range:range(4, 1))
  tree:add_le(f.frg, range:range(5, 1))
  tree:add_le(f.wnd, range:range(6, 2))
  tree:add_le(f.ts, range:range(8, 4))
  tree:add_le(f.sn, range:range(12, 4))
  tree:add_le(f.una, range:range(16, 4))
  tree:add_le(f.len, range:range(20, 4))
  if not COMMANDS[cmd] then
    tree:add_proto_expert_info(problem.malformed, "Unknown command")
    return
  end
  if HEADER + length > left then
    tree:add_proto_expert_info(problem.malformed, "Segment is longer than the datagram")
    return
  end
  local summary = name
  if cmd == 81 or cmd == 82 then
    tree:append_text(" sn=" .. sn)
    summary = summary .. " sn=" .. sn
  end
  if length > 0 then
    local payload = range:range(HEADER, length)
    local extension = cmd == 84 and add_extension(payload, tree)
    if extension then
      summary = extension
    else
      tree:add(f.data, payload)
      summary = summary .. " len=" .. length
    end
  end
  return HEADER + length, summary
end

-- Segments to the end of `range`. Returns a summary.
local function add_segments(range, tree)
  local summaries = {}
  while range do
    local length, summary = add_segment(range, tree)
    if not length then
      summaries[#summaries + 1] = "malformed"
      break
    end
    summaries[#summaries + 1] = summary
    range = length < range:len() and range:range(length) or nil
  end
  return table.concat(summaries, " | ")
end

-- FEC headers -------------------------------------------------------------------------------------------

local function shard_of(range)
  return range:len() >= 6 and SHARDS[range:range(4, 2):le_uint()] or nil
end

-- The bytes behind the size field, if it is right: without the zeros that a packet may end with.
local function body(range, header)
  local size = range:len() >= 8 and range:range(6, 2):le_uint() or 0
  if size < 2 or 6 + size > range:len() then
    header:add_proto_expert_info(problem.malformed, "Size is wrong")
    return
  end
  header:add_le(f.size, range:range(6, 2))
  return size > 2 and range:range(8, size - 2) or nil
end

-- The content of a datagram after decryption. Returns a summary.
local function add_content(range, tree)
  local shard = shard_of(range)
  if not shard then return add_segments(range, tree) end
  local seqid = range:range(0, 4):le_uint()
  local header = tree:add(kcp, range:range(0, math.min(shard == "parity" and 6 or 8, range:len())), "FEC: " .. shard)
  header:add_le(f.seqid, range:range(0, 4))
  header:add_le(f.shard, range:range(4, 2))
  if shard == "parity" then
    header:append_text(" " .. seqid)
    if range:len() > 6 then tree:add(f.parity, range:range(6)) end
    return "[FEC parity " .. seqid .. "]"
  end
  local content = body(range, header)
  if shard == "data" then
    header:append_text(" " .. seqid)
    return "[FEC data " .. seqid .. "] " .. (content and add_segments(content, tree) or "malformed")
  end
  if not content or content:len() < 4 then return "out-of-band malformed" end
  tree:add_le(f.conv, content:range(0, 4))
  if content:len() > 4 then tree:add(f.oob, content:range(4)) end
  return "out-of-band len=" .. (content:len() - 4)
end

-- Encryption --------------------------------------------------------------------------------------------

-- The chosen cipher and its key, made for the first packet after a change of preferences.
local opener

local function make_opener()
  local name = NAMES[kcp.prefs.cipher] or "null"
  if name == "null" then return { plain = true } end
  local cipher = ciphers.ciphers[name]
  if not cipher then return { unusable = name .. " is not implemented by this dissector" } end
  local key = kcp.prefs.key:gsub("[%s:]", "")
  if key ~= "" then
    if key:find("%X") or #key ~= 2 * cipher.key_length then
      return { unusable = ("the key of %s has %d hexadecimal digits"):format(name, 2 * cipher.key_length) }
    end
    key = key:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  elseif cipher.key_length > 0 then
    if kcp.prefs.password == "" then return { unusable = "neither a password nor a key is set" } end
    key = ciphers.pbkdf2(kcp.prefs.password, kcp.prefs.salt, 4096, cipher.key_length)
  end
  return { name = name, checksum = cipher.checksum, open = cipher.make(key) }
end

-- The decrypted content as a range, or nothing and the reason. Without `tree`, nothing is shown.
local function open_checked(range, tree)
  if range:len() < 20 then return nil, "too short for a nonce and a checksum" end
  local plain = opener.open(range:raw())
  local decrypted = ByteArray.new(plain, true):tvb("Decrypted KCP")
  local expected = decrypted:range(16, 4):le_uint()
  if ciphers.crc32(plain:sub(21)) ~= expected then
    return nil, "the checksum is wrong: another password, key or cipher, or no KCP"
  end
  if tree then
    tree:add(f.nonce, decrypted:range(0, 16))
    tree:add_le(f.crc32, decrypted:range(16, 4))
  end
  return decrypted:len() > 20 and decrypted:range(20) or nil, "empty"
end

local function open_authenticated(range, tree)
  local length = range:len() - 28
  if length < 1 then return nil, "too short for a nonce and a tag" end
  local nonce, sealed, tag = range:range(0, 12), range:range(12, length), range:range(12 + length, 16)
  local plain = opener.open(nonce:raw(), sealed:raw(), tag:raw())
  if not plain then return nil, "the tag is wrong: another password, key or cipher, or no KCP" end
  if tree then
    tree:add(f.nonce, nonce)
    tree:add(f.tag, tag)
  end
  return ByteArray.new(plain, true):tvb("Decrypted KCP"):range()
end

local function open(range, tree)
  if opener.plain then return range end
  return (opener.checksum and open_checked or open_authenticated)(range, tree)
end

-- Several datagrams in one packet -----------------------------------------------------------------------

-- The system may capture datagrams of one size before it has segmented them (GSO), or after it has joined them
-- (GRO). The last one may be shorter. Sizes that were seen before are tried, and usual ones.
local sizes

local function note_size(size)
  for _, known in ipairs(sizes) do
    if known == size then return end
  end
  table.insert(sizes, 1, size)
  sizes[33] = nil
end

-- Whether the first `size` bytes are a datagram and more follow.
local function begins_with(range, size)
  if size >= range:len() then return false end
  if not opener.plain then return open(range:range(0, size)) ~= nil end
  local rest = range:range(size)
  return shard_of(range) and shard_of(rest) and rest:range(0, 4):le_uint() == range:range(0, 4):le_uint() + 1
end

-- The size of the datagrams that were joined, if it can be found.
local function joined_size(range)
  if opener.plain and shard_of(range) == "data" and range:len() >= 8 then
    local size = 6 + range:range(6, 2):le_uint()
    if begins_with(range, size) then return size end
  end
  for _, size in ipairs(sizes) do
    if begins_with(range, size) then return size end
  end
end

-- The dissector -----------------------------------------------------------------------------------------

-- Adds one datagram. Returns a summary.
local function add_datagram(range, tree)
  local content, reason = nil, opener.unusable
  if reason then
    tree:add_proto_expert_info(problem.cipher, "Not decrypted: " .. reason)
  else
    content, reason = open(range, tree)
    if not content then tree:add_proto_expert_info(problem.key, "Not decrypted: " .. reason) end
  end
  if content then
    note_size(range:len())
    return add_content(content, tree)
  end
  tree:add(f.encrypted, range)
  return "Not decrypted: " .. reason
end

-- Whether the whole packet is no single datagram.
local function may_be_joined(range)
  if opener.unusable then return false end
  if not opener.plain then return open(range) == nil end
  local shard = shard_of(range)
  return shard == "parity" or shard ~= nil and range:len() >= 8 and 6 + range:range(6, 2):le_uint() < range:len()
end

function kcp.dissector(buffer, pinfo, root)
  if buffer:len() == 0 or buffer:captured_len() < buffer:reported_length_remaining() then return 0 end
  opener = opener or make_opener()
  sizes = sizes or { 1200, 1400 }
  pinfo.cols.protocol = "KCP"
  local range = buffer:range()
  local tree = root:add(kcp, range)
  local size = may_be_joined(range) and joined_size(range)
  if not size then
    pinfo.cols.info = add_datagram(range, tree)
    return buffer:len()
  end
  local summaries = {}
  for at = 0, range:len() - 1, size do
    local part = range:range(at, math.min(size, range:len() - at))
    summaries[#summaries + 1] = add_datagram(part, tree:add(kcp, part, "Datagram of " .. part:len() .. " bytes"))
  end
  pinfo.cols.info = #summaries .. " datagrams: " .. table.concat(summaries, " || ")
  return buffer:len()
end

-- Whether unencrypted KCP fills the datagram: segments up to its end, or a FEC header with the right size.
local function is_plain(buffer)
  local range = buffer:range()
  local shard = shard_of(range)
  if shard == "parity" then return false end
  if shard then
    if range:len() < 12 or range:range(6, 2):le_uint() ~= range:len() - 6 then return false end
    if shard == "out-of-band" then return range:range(0, 4):le_uint() == 0xffffffff end
    range = range:range(8)
  end
  while range do
    local left = range:len()
    if left < HEADER or not COMMANDS[range:range(4, 1):uint()] then return false end
    local length = range:range(20, 4):le_uint()
    if HEADER + length > left then return false end
    range = HEADER + length < left and range:range(HEADER + length) or nil
  end
  return true
end

local function heuristic(buffer, pinfo, root)
  if buffer:captured_len() < buffer:reported_length_remaining() then return false end
  if NAMES[kcp.prefs.cipher] ~= "null" or buffer:len() < 12 or not is_plain(buffer) then return false end
  -- Later datagrams of these addresses are KCP too, parity among them.
  pinfo.conversation = kcp
  kcp.dissector(buffer, pinfo, root)
  return true
end

-- Registration ------------------------------------------------------------------------------------------

local udp = DissectorTable.get("udp.port")
local registered = ""

local function register_ports()
  if kcp.prefs.ports == registered then return end
  if registered ~= "" then udp:remove(registered, kcp) end
  registered = kcp.prefs.ports
  if registered ~= "" then udp:add(registered, kcp) end
end

function kcp.prefs_changed()
  opener, sizes = nil, nil
  register_ports()
end

udp:add_for_decode_as(kcp)
register_ports()
kcp:register_heuristic("udp", heuristic)
