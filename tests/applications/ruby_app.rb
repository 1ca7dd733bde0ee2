# A worker loop on redis-rb.
#
# ruby ruby_app.rb produce|work PORT NAME IDLE_MS [JOB..]

require "redis"

role, port, name, idle_ms, *jobs = ARGV
$stdout.sync = true
redis = Redis.new(host: "127.0.0.1", port: port.to_i, id: name)

if role == "produce"
  redis.pipelined { |pipeline| jobs.each { |job| pipeline.xadd("jobs", { "job" => job }) } }
  redis.xtrim("jobs", 1000, approximate: true)
  exit
end

begin
  redis.xgroup(:create, "jobs", "workers", "0", mkstream: true)
rescue Redis::CommandError => e
  raise unless e.message.start_with?("BUSYGROUP")
end
puts "ready"
loop do
  left = redis.xautoclaim("jobs", "workers", name, idle_ms.to_i, "0-0", count: 10)["entries"]
  read = redis.xreadgroup("workers", name, "jobs", ">", count: 1, block: 100)
  (left + read.fetch("jobs", [])).each do |id, fields|
    puts "took #{fields['job']}"
    exit if $stdin.gets.nil?
    redis.xack("jobs", "workers", id)
  end
end
