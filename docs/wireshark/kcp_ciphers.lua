-- The ciphers of kcp-go for kcp.lua, in plain Lua: Wireshark's Lua has none before version 4.4.
--
-- Runs with Lua 5.2 and later. Nothing here depends on Wireshark, and nothing is done when this file is
-- loaded, so it may lie in the folder of plugins.

local hashes = dofile((debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "") .. "kcp_hashes.lua")
local bits, xor, pbkdf2 = hashes.bits, hashes.xor, hashes.pbkdf2
local word_be, word_le, bytes_of = hashes.word_be, hashes.word_le, hashes.bytes_of
local bytes_be, bytes_le = hashes.bytes_be, hashes.bytes_le
local band, bor, bxor = bits.band, bits.bor, bits.bxor
local extract, lrotate, lshift, rshift = bits.extract, bits.lrotate, bits.lshift, bits.rshift
local byte, char, concat, floor = string.byte, string.char, table.concat, math.floor
local WORD = 0xffffffff

-- AES ---------------------------------------------------------------------------------------------------

-- The S-box and the four tables of a round, made when they are needed first.
local S, T0, T1, T2, T3

local function make_aes_tables()
  S, T0, T1, T2, T3 = {}, {}, {}, {}, {}
  local function double(a) return a < 128 and 2 * a or bxor(2 * a, 0x11b) end
  -- 3 generates all elements but 0; its powers backwards are the inverses.
  local power, log, a = {}, {}, 1
  for i = 0, 254 do
    power[i], log[a] = a, i
    a = bxor(a, double(a))
  end
  for x = 0, 255 do
    local inverse = x == 0 and 0 or power[(255 - log[x]) % 255]
    local s = 0x63
    for turn = 0, 4 do
      s = bxor(s, band(bor(lshift(inverse, turn), rshift(inverse, 8 - turn)), 255))
    end
    local twice = double(s)
    S[x] = s
    T0[x] = ((twice * 256 + s) * 256 + s) * 256 + bxor(twice, s)
    T1[x], T2[x], T3[x] = lrotate(T0[x], 24), lrotate(T0[x], 16), lrotate(T0[x], 8)
  end
end

local function sub_word(w)
  return ((S[extract(w, 24, 8)] * 256 + S[extract(w, 16, 8)]) * 256 + S[extract(w, 8, 8)]) * 256 + S[extract(w, 0, 8)]
end

-- Encrypts blocks of four words.
local function aes(key)
  if not S then make_aes_tables() end
  local k, n, factor = {}, #key / 4, 1
  for i = 1, n do k[i] = word_be(key, 4 * i - 3) end
  local last = 4 * (n + 7)
  for i = n + 1, last do
    local w, place = k[i - 1], (i - 1) % n
    if place == 0 then
      w = bxor(sub_word(lrotate(w, 8)), lshift(factor, 24))
      factor = factor < 128 and 2 * factor or bxor(2 * factor, 0x11b)
    elseif n > 6 and place == 4 then
      w = sub_word(w)
    end
    k[i] = bxor(k[i - n], w)
  end
  local k1, k2, k3, k4 = k[1], k[2], k[3], k[4]
  return function(a, b, c, d)
    a, b, c, d = bxor(a, k1), bxor(b, k2), bxor(c, k3), bxor(d, k4)
    for i = 5, last - 4, 4 do
      a, b, c, d =
        bxor(T0[extract(a, 24, 8)], T1[extract(b, 16, 8)], T2[extract(c, 8, 8)], T3[extract(d, 0, 8)], k[i]),
        bxor(T0[extract(b, 24, 8)], T1[extract(c, 16, 8)], T2[extract(d, 8, 8)], T3[extract(a, 0, 8)], k[i + 1]),
        bxor(T0[extract(c, 24, 8)], T1[extract(d, 16, 8)], T2[extract(a, 8, 8)], T3[extract(b, 0, 8)], k[i + 2]),
        bxor(T0[extract(d, 24, 8)], T1[extract(a, 16, 8)], T2[extract(b, 8, 8)], T3[extract(c, 0, 8)], k[i + 3])
    end
    local function final(e, f, g, h, i)
      local w = ((S[extract(e, 24, 8)] * 256 + S[extract(f, 16, 8)]) * 256 + S[extract(g, 8, 8)]) * 256 + S[extract(h, 0, 8)]
      return bxor(w, k[i])
    end
    return final(a, b, c, d, last - 3), final(b, c, d, a, last - 2), final(c, d, a, b, last - 1), final(d, a, b, c, last)
  end
end

-- CFB, as kcp-go uses it --------------------------------------------------------------------------------

local IV = "\167\115\79\156\18\172\27\1\164\21\242\193\252\120\230\107"

-- `encrypt` takes and returns as many words as a block has.
local function cfb(encrypt, block)
  return function(sealed)
    local stream, before = {}, IV:sub(1, block)
    for at = 1, #sealed, block do
      local words = {}
      for i = 1, block, 4 do words[#words + 1] = word_be(before, i) end
      stream[#stream + 1] = bytes_of(encrypt(words[1], words[2], words[3], words[4]))
      before = sealed:sub(at, at + block - 1)
    end
    return xor(sealed, concat(stream))
  end
end

local function tea(key)
  local k0, k1, k2, k3 = word_be(key, 1), word_be(key, 5), word_be(key, 9), word_be(key, 13)
  return function(a, b)
    local sum = 0
    for _ = 1, 8 do
      sum = band(sum + 0x9e3779b9, WORD)
      a = band(a + bxor(band(lshift(b, 4) + k0, WORD), band(b + sum, WORD), band(rshift(b, 5) + k1, WORD)), WORD)
      b = band(b + bxor(band(lshift(a, 4) + k2, WORD), band(a + sum, WORD), band(rshift(a, 5) + k3, WORD)), WORD)
    end
    return a, b
  end
end

local function xtea(key)
  local k = { [0] = word_be(key, 1), word_be(key, 5), word_be(key, 9), word_be(key, 13) }
  return function(a, b)
    local sum = 0
    for _ = 1, 32 do
      local mixed = band(bxor(lshift(b, 4), rshift(b, 5)) + b, WORD)
      a = band(a + bxor(mixed, band(sum + k[band(sum, 3)], WORD)), WORD)
      sum = band(sum + 0x9e3779b9, WORD)
      mixed = band(bxor(lshift(a, 4), rshift(a, 5)) + a, WORD)
      b = band(b + bxor(mixed, band(sum + k[extract(sum, 11, 2)], WORD)), WORD)
    end
    return a, b
  end
end

-- Stream ciphers ----------------------------------------------------------------------------------------

local SIGMA = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }

-- Both ciphers: `double_round` changes sixteen words in place. The result is added to them.
local function stream_block(start, double_round)
  local x = {}
  for i = 1, 16 do x[i] = start[i] end
  for _ = 1, 10 do double_round(x) end
  for i = 1, 16 do x[i] = bytes_le(band(x[i] + start[i], WORD)) end
  return concat(x)
end

local function salsa20_round(x)
  local function quarter(a, b, c, d)
    x[b] = bxor(x[b], lrotate(band(x[a] + x[d], WORD), 7))
    x[c] = bxor(x[c], lrotate(band(x[b] + x[a], WORD), 9))
    x[d] = bxor(x[d], lrotate(band(x[c] + x[b], WORD), 13))
    x[a] = bxor(x[a], lrotate(band(x[d] + x[c], WORD), 18))
  end
  quarter(1, 5, 9, 13) quarter(6, 10, 14, 2) quarter(11, 15, 3, 7) quarter(16, 4, 8, 12)
  quarter(1, 2, 3, 4) quarter(6, 7, 8, 5) quarter(11, 12, 9, 10) quarter(16, 13, 14, 15)
end

local function chacha20_round(x)
  local function quarter(a, b, c, d)
    x[a] = band(x[a] + x[b], WORD) x[d] = lrotate(bxor(x[d], x[a]), 16)
    x[c] = band(x[c] + x[d], WORD) x[b] = lrotate(bxor(x[b], x[c]), 12)
    x[a] = band(x[a] + x[b], WORD) x[d] = lrotate(bxor(x[d], x[a]), 8)
    x[c] = band(x[c] + x[d], WORD) x[b] = lrotate(bxor(x[b], x[c]), 7)
  end
  quarter(1, 5, 9, 13) quarter(2, 6, 10, 14) quarter(3, 7, 11, 15) quarter(4, 8, 12, 16)
  quarter(1, 6, 11, 16) quarter(2, 7, 12, 13) quarter(3, 8, 9, 14) quarter(4, 5, 10, 15)
end

-- The first eight bytes are the nonce and travel in clear.
local function salsa20(key)
  local k = {}
  for i = 1, 8 do k[i] = word_le(key, 4 * i - 3) end
  return function(sealed)
    local n1, n2, stream = word_le(sealed, 1), word_le(sealed, 5), {}
    for counter = 0, floor(#sealed / 64) do
      local start = { SIGMA[1], k[1], k[2], k[3], k[4], SIGMA[2], n1, n2, counter, 0, SIGMA[3], k[5], k[6], k[7], k[8], SIGMA[4] }
      stream[#stream + 1] = stream_block(start, salsa20_round)
    end
    return sealed:sub(1, 8) .. xor(sealed:sub(9), concat(stream))
  end
end

-- Authenticated ciphers: nonce, data, tag. They return nothing if the tag is wrong. -------------------------

-- The blocks that tags are computed over without associated data.
local function padded(data)
  return data .. ("\0"):rep(-#data % 16)
end

local function gcm(key)
  local encrypt = aes(key)
  -- For each byte of a block and its value, the product with the hash key, as four words.
  local tables, v = {}, { encrypt(0, 0, 0, 0) }
  for position = 0, 15 do
    local t1, t2, t3, t4 = { [0] = 0 }, { [0] = 0 }, { [0] = 0 }, { [0] = 0 }
    for bit = 7, 0, -1 do
      t1[2 ^ bit], t2[2 ^ bit], t3[2 ^ bit], t4[2 ^ bit] = v[1], v[2], v[3], v[4]
      local carry = band(v[4], 1)
      for i = 4, 2, -1 do v[i] = bor(rshift(v[i], 1), lshift(band(v[i - 1], 1), 31)) end
      v[1] = bxor(rshift(v[1], 1), carry * 0xe1000000)
    end
    local high = 1
    for value = 2, 255 do
      if value == 2 * high then
        high = value
      else
        local low = value - high
        t1[value], t2[value] = bxor(t1[high], t1[low]), bxor(t2[high], t2[low])
        t3[value], t4[value] = bxor(t3[high], t3[low]), bxor(t4[high], t4[low])
      end
    end
    tables[position] = { t1, t2, t3, t4 }
  end
  local function hash(text)
    local z1, z2, z3, z4 = 0, 0, 0, 0
    for at = 1, #text, 16 do
      local block = bytes_of(
        bxor(z1, word_be(text, at)), bxor(z2, word_be(text, at + 4)),
        bxor(z3, word_be(text, at + 8)), bxor(z4, word_be(text, at + 12)))
      z1, z2, z3, z4 = 0, 0, 0, 0
      for position = 0, 15 do
        local t, value = tables[position], byte(block, position + 1)
        z1, z2, z3, z4 = bxor(z1, t[1][value]), bxor(z2, t[2][value]), bxor(z3, t[3][value]), bxor(z4, t[4][value])
      end
    end
    return bytes_of(z1, z2, z3, z4)
  end
  return function(nonce, data, tag)
    local n1, n2, n3 = word_be(nonce, 1), word_be(nonce, 5), word_be(nonce, 9)
    local lengths = bytes_be(0) .. bytes_be(0) .. bytes_be(0) .. bytes_be(8 * #data)
    if xor(hash(padded(data) .. lengths), bytes_of(encrypt(n1, n2, n3, 1))) ~= tag then return end
    local stream = {}
    for block = 1, math.ceil(#data / 16) do
      stream[block] = bytes_of(encrypt(n1, n2, n3, block + 1))
    end
    return xor(data, concat(stream))
  end
end

-- Numbers of 130 bits are ten limbs of 13 bits, so that sums of products are exact in floating point too.
local function limbs(text)
  local out, value, count = {}, 0, 0
  for i = 1, #text do
    value, count = value + byte(text, i) * 2 ^ count, count + 8
    if count >= 13 then
      out[#out + 1] = floor(value % 8192)
      value, count = floor(value / 8192), count - 13
    end
  end
  out[#out + 1] = floor(value)
  for i = #out + 1, 10 do out[i] = 0 end
  return out
end

local function carry(h)
  local over = 0
  for i = 1, 10 do
    h[i] = h[i] + over
    over = floor(h[i] / 8192)
    h[i] = h[i] % 8192
  end
  -- 2^130 is 5 modulo the prime.
  h[1] = h[1] + 5 * over
end

local function poly1305(key, text)
  local clamped = {}
  for i = 1, 16 do
    local mask = (i % 4 == 0 and 15) or (i % 4 == 1 and i > 1 and 252) or 255
    clamped[i] = char(band(byte(key, i), mask))
  end
  local r, h = limbs(concat(clamped)), { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  for at = 1, #text, 16 do
    local block = limbs(text:sub(at, at + 15) .. "\1")
    local product = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    for i = 1, 10 do
      local digit = h[i] + block[i]
      for j = 1, 10 do
        local place, factor = i + j - 1, 1
        if place > 10 then place, factor = place - 10, 5 end
        product[place] = product[place] + factor * digit * r[j]
      end
    end
    h = product
    carry(h)
    carry(h)
  end
  carry(h)
  -- If adding 5 overflows, the number is not less than the prime.
  local reduced = { h[1] + 5, h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10] }
  local over = 0
  for i = 1, 10 do
    local sum = reduced[i] + over
    over = floor(sum / 8192)
    reduced[i] = sum % 8192
  end
  if over > 0 then h = reduced end
  local out, value, count, add = {}, 0, 0, 0
  local limb = 0
  for i = 1, 16 do
    while count < 8 do
      limb = limb + 1
      value, count = value + h[limb] * 2 ^ count, count + 13
    end
    local sum = floor(value % 256) + byte(key, 16 + i) + add
    out[i], add = char(floor(sum % 256)), floor(sum / 256)
    value, count = floor(value / 256), count - 8
  end
  return concat(out)
end

local function chacha20_poly1305(key)
  local k = {}
  for i = 1, 8 do k[i] = word_le(key, 4 * i - 3) end
  return function(nonce, data, tag)
    local n1, n2, n3 = word_le(nonce, 1), word_le(nonce, 5), word_le(nonce, 9)
    local function block(counter)
      local start = {
        SIGMA[1], SIGMA[2], SIGMA[3], SIGMA[4], k[1], k[2], k[3], k[4], k[5], k[6], k[7], k[8], counter, n1, n2, n3 }
      return stream_block(start, chacha20_round)
    end
    local lengths = bytes_le(0) .. bytes_le(0) .. bytes_le(#data) .. bytes_le(0)
    if poly1305(block(0), padded(data) .. lengths) ~= tag then return end
    local stream = {}
    for counter = 1, math.ceil(#data / 64) do stream[counter] = block(counter) end
    return xor(data, concat(stream))
  end
end

-- The ciphers by kcptun's names -------------------------------------------------------------------------

-- A cipher with nonce and checksum. `open` decrypts a whole datagram.
local function checked(length, make)
  return { key_length = length, checksum = true, make = make }
end

-- An authenticated one.
local function authenticated(length, make)
  return { key_length = length, checksum = false, make = make }
end

return {
  crc32 = hashes.crc32,
  pbkdf2 = pbkdf2,
  ciphers = {
    ["none"] = checked(0, function() return function(sealed) return sealed end end),
    ["aes"] = checked(32, function(key) return cfb(aes(key), 16) end),
    ["aes-128"] = checked(16, function(key) return cfb(aes(key), 16) end),
    ["aes-192"] = checked(24, function(key) return cfb(aes(key), 16) end),
    ["tea"] = checked(16, function(key) return cfb(tea(key), 8) end),
    ["xtea"] = checked(16, function(key) return cfb(xtea(key), 8) end),
    ["salsa20"] = checked(32, salsa20),
    ["xor"] = checked(32, function(key)
      local stream = ""
      return function(sealed)
        -- kcp-go's packets have at most 1500 bytes; jumbo frames need more of the same stream.
        if #stream < #sealed then
          stream = pbkdf2(key, "sH3CIVoF#rWLtJo6", 32, #sealed <= 1500 and 1500 or 9000)
        end
        return xor(sealed:sub(1, #stream), stream)
      end
    end),
    ["aes-128-gcm"] = authenticated(16, gcm),
    ["aes-192-gcm"] = authenticated(24, gcm),
    ["aes-256-gcm"] = authenticated(32, gcm),
    ["chacha20-poly1305"] = authenticated(32, chacha20_poly1305),
  },
}
