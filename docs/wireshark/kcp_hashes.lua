-- Arithmetic, SHA-1, PBKDF2 and CRC-32 for kcp_ciphers.lua, in plain Lua 5.2 or later.
--
-- Nothing is done when this file is loaded, so it may lie in the folder of plugins.

-- Arithmetic on 32 bits. Lua 5.2 has a library, later versions have operators, which Lua 5.2 cannot parse.
local bits = bit32 or load([[
  return {
    band = function(a, b) return a & b & 0xffffffff end,
    bnot = function(a) return ~a & 0xffffffff end,
    bor = function(a, b) return (a | b) & 0xffffffff end,
    bxor = function(a, b, c, d, e) return (a ~ b ~ (c or 0) ~ (d or 0) ~ (e or 0)) & 0xffffffff end,
    extract = function(a, from, width) return (a >> from) & ((1 << width) - 1) end,
    lrotate = function(a, by) a = a & 0xffffffff return ((a << by) | (a >> (32 - by))) & 0xffffffff end,
    lshift = function(a, by) return (a << by) & 0xffffffff end,
    rshift = function(a, by) return (a & 0xffffffff) >> by end,
  }
]])()
local band, bor, bxor, bnot = bits.band, bits.bor, bits.bxor, bits.bnot
local extract, lrotate, rshift = bits.extract, bits.lrotate, bits.rshift
local byte, char, concat, floor = string.byte, string.char, table.concat, math.floor
local WORD = 0xffffffff

-- Words and bytes ---------------------------------------------------------------------------------------

local function word_be(text, at)
  local a, b, c, d = byte(text, at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function word_le(text, at)
  local a, b, c, d = byte(text, at, at + 3)
  return ((d * 256 + c) * 256 + b) * 256 + a
end

local function bytes_be(word)
  return char(extract(word, 24, 8), extract(word, 16, 8), extract(word, 8, 8), extract(word, 0, 8))
end

local function bytes_le(word)
  return char(extract(word, 0, 8), extract(word, 8, 8), extract(word, 16, 8), extract(word, 24, 8))
end

-- `text` XORed with `stream`, which is at least as long.
local function xor(text, stream)
  local out, whole = {}, #text - #text % 4
  for at = 1, whole, 4 do
    out[#out + 1] = bytes_be(bxor(word_be(text, at), word_be(stream, at)))
  end
  for at = whole + 1, #text do
    out[#out + 1] = char(bxor(byte(text, at), byte(stream, at)))
  end
  return concat(out)
end

-- SHA-1, HMAC, PBKDF2 -----------------------------------------------------------------------------------

-- The state after one more block, given as sixteen words, which are extended in place.
local function sha1_block(h0, h1, h2, h3, h4, w)
  for t = 17, 80 do
    w[t] = lrotate(bxor(w[t - 3], w[t - 8], w[t - 14], w[t - 16]), 1)
  end
  local a, b, c, d, e = h0, h1, h2, h3, h4
  for t = 1, 80 do
    local f
    if t <= 20 then
      f = bxor(d, band(b, bxor(c, d))) + 0x5a827999
    elseif t <= 40 then
      f = bxor(b, c, d) + 0x6ed9eba1
    elseif t <= 60 then
      f = bor(band(b, c), band(d, bor(b, c))) + 0x8f1bbcdc
    else
      f = bxor(b, c, d) + 0xca62c1d6
    end
    a, b, c, d, e = band(lrotate(a, 5) + f + e + w[t], WORD), a, lrotate(b, 30), c, d
  end
  return band(h0 + a, WORD), band(h1 + b, WORD), band(h2 + c, WORD), band(h3 + d, WORD), band(h4 + e, WORD)
end

-- Hashes `text` from a state that has processed `before` bytes.
local function sha1_from(state, before, text)
  local length = (before + #text) * 8
  text = text .. "\128" .. ("\0"):rep((55 - #text) % 64)
  text = text .. bytes_be(floor(length / 2 ^ 32)) .. bytes_be(length % 2 ^ 32)
  local h0, h1, h2, h3, h4 = state[1], state[2], state[3], state[4], state[5]
  for at = 1, #text, 64 do
    local w = {}
    for i = 1, 16 do w[i] = word_be(text, at + 4 * (i - 1)) end
    h0, h1, h2, h3, h4 = sha1_block(h0, h1, h2, h3, h4, w)
  end
  return h0, h1, h2, h3, h4
end

local SHA1_INITIAL = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }

local function bytes_of(...)
  local out = { ... }
  for i, word in ipairs(out) do out[i] = bytes_be(word) end
  return concat(out)
end

local function pbkdf2(password, salt, rounds, length)
  if #password > 64 then password = bytes_of(sha1_from(SHA1_INITIAL, 0, password)) end
  password = password .. ("\0"):rep(64 - #password)
  -- The states after the first block of the inner and the outer hash, which all rounds begin with.
  local function started(pad)
    local w = {}
    for i = 1, 16 do w[i] = bxor(word_be(password, 4 * i - 3), pad) end
    return { sha1_block(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0, w) }
  end
  local inner, outer = started(0x36363636), started(0x5c5c5c5c)
  local i1, i2, i3, i4, i5 = inner[1], inner[2], inner[3], inner[4], inner[5]
  local o1, o2, o3, o4, o5 = outer[1], outer[2], outer[3], outer[4], outer[5]
  local w = {}
  -- The block of a hash of five words: they, the padding, and the length of 64 + 20 bytes in bits.
  local function block(a, b, c, d, e)
    w[1], w[2], w[3], w[4], w[5], w[6] = a, b, c, d, e, 0x80000000
    for i = 7, 15 do w[i] = 0 end
    w[16] = 672
    return w
  end
  local out = {}
  for number = 1, math.ceil(length / 20) do
    local a, b, c, d, e = sha1_from(inner, 64, salt .. bytes_be(number))
    a, b, c, d, e = sha1_block(o1, o2, o3, o4, o5, block(a, b, c, d, e))
    local t1, t2, t3, t4, t5 = a, b, c, d, e
    for _ = 2, rounds do
      a, b, c, d, e = sha1_block(i1, i2, i3, i4, i5, block(a, b, c, d, e))
      a, b, c, d, e = sha1_block(o1, o2, o3, o4, o5, block(a, b, c, d, e))
      t1, t2, t3, t4, t5 = bxor(t1, a), bxor(t2, b), bxor(t3, c), bxor(t4, d), bxor(t5, e)
    end
    out[number] = bytes_of(t1, t2, t3, t4, t5)
  end
  return concat(out):sub(1, length)
end

-- CRC-32 of IEEE 802.3 ----------------------------------------------------------------------------------

local CRC

local function crc32(text)
  if not CRC then
    CRC = {}
    for i = 0, 255 do
      local value = i
      for _ = 1, 8 do
        value = bxor(rshift(value, 1), band(value, 1) * 0xedb88320)
      end
      CRC[i] = value
    end
  end
  local value = WORD
  for i = 1, #text do
    value = bxor(CRC[band(bxor(value, byte(text, i)), 255)], rshift(value, 8))
  end
  return bnot(value)
end

return {
  bits = bits, word_be = word_be, word_le = word_le, bytes_be = bytes_be, bytes_le = bytes_le, bytes_of = bytes_of,
  xor = xor, pbkdf2 = pbkdf2, crc32 = crc32,
}
