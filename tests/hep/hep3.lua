-- HEP version 3 for tshark, which has no dissector of its own: written from the HEP3 network protocol specification
-- (sipcapture.org), rev. 12, and from nothing of the plugin, so that what the reporter sends is read a second time.
--
-- tshark -X lua_script:hep3.lua: each packet over UDP or TCP is a "hep3" with one subtree "hep3.chunk" a chunk. A chunk
-- that is not known, or whose length is not that of its type, is "hep3.fault".

local hep3 = Proto("hep3", "Homer Encapsulation Protocol, version 3")

local HEAD, CHUNK_HEAD = 6, 6
local length = ProtoField.uint16("hep3.length", "Length")
local chunk = ProtoField.bytes("hep3.chunk", "Chunk")
local vendor = ProtoField.uint16("hep3.vendor", "Vendor")
local fault = ProtoField.string("hep3.fault", "Fault")

-- Type, name, kind of value, and the bytes that a value of this kind takes (none: any number of them)
local KINDS = {
    { 1, "family", "uint8", 1 }, { 2, "protocol", "uint8", 1 },
    { 3, "src4", "ipv4", 4 }, { 4, "dst4", "ipv4", 4 },
    { 5, "src6", "ipv6", 16 }, { 6, "dst6", "ipv6", 16 },
    { 7, "src_port", "uint16", 2 }, { 8, "dst_port", "uint16", 2 },
    { 9, "seconds", "uint32", 4 }, { 10, "microseconds", "uint32", 4 },
    { 11, "kind", "uint8", 1 }, { 12, "capture_id", "uint32", 4 }, { 13, "keep_alive", "uint16", 2 },
    { 14, "key", "string" }, { 15, "payload", "bytes" }, { 16, "compressed", "bytes" },
    { 17, "correlation", "string" }, { 18, "vlan", "uint16", 2 }, { 19, "node", "string" },
}
local fields, by_type = { length, chunk, vendor, fault }, {}
for _, about in ipairs(KINDS) do
    local field = ProtoField[about[3]]("hep3." .. about[2], about[2])
    fields[#fields + 1] = field
    by_type[about[1]] = { field = field, size = about[4] }
end
hep3.fields = fields

local function dissect_chunks(buffer, tree)
    local at = HEAD
    while at < buffer:len() do
        if buffer:len() - at < CHUNK_HEAD then
            tree:add(fault, buffer(at), "a chunk without a head")
            return
        end
        local size = buffer(at + 4, 2):uint()
        if size < CHUNK_HEAD or at + size > buffer:len() then
            tree:add(fault, buffer(at), "a chunk of " .. size .. " bytes")
            return
        end
        local branch = tree:add(chunk, buffer(at, size))
        branch:add(vendor, buffer(at, 2))
        local known = buffer(at, 2):uint() == 0 and by_type[buffer(at + 2, 2):uint()]
        if not known or (known.size and known.size ~= size - CHUNK_HEAD) or size == CHUNK_HEAD then
            branch:add(fault, buffer(at, size), "a chunk that the specification does not have")
        else
            branch:add(known.field, buffer(at + CHUNK_HEAD, size - CHUNK_HEAD))
        end
        at = at + size
    end
end

local function dissect_packet(buffer, info, root)
    info.cols.protocol = "HEP3"
    local tree = root:add(hep3, buffer())
    tree:add(length, buffer(4, 2))
    if buffer(0, 4):string() ~= "HEP3" then
        tree:add(fault, buffer(0, 4), "another protocol")
    end
    dissect_chunks(buffer, tree)
    return buffer:len()
end

local function size_of(buffer, _, at)
    return buffer(at + 4, 2):uint()
end

local TCP = 2   -- as pinfo.port_type has it

function hep3.dissector(buffer, info, root)
    if info.port_type == TCP then
        dissect_tcp_pdus(buffer, root, HEAD, size_of, dissect_packet)
        return buffer:len()
    end
    return dissect_packet(buffer, info, root)
end

local PORT = 9060   -- of Homer's servers
DissectorTable.get("udp.port"):add(PORT, hep3)
DissectorTable.get("tcp.port"):add(PORT, hep3)
