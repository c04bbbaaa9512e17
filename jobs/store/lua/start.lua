-- What most commands need: the prefix of all keys, and the time in Unix milliseconds.
local P = 'atelier:'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local commands = {}
