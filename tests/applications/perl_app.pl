# A worker loop on Redis.pm, with the claim of old: XPENDING, then XCLAIM of what is idle.
#
# perl perl_app.pl produce|work PORT NAME IDLE_MS [JOB..]

use strict;
use warnings;
use Redis;

my ($role, $port, $name, $idle_ms, @jobs) = @ARGV;
$| = 1;
my $redis = Redis->new(server => "127.0.0.1:$port", name => $name);

if ($role eq 'produce') {
    $redis->xadd('jobs', '*', 'job', $_) for @jobs;
    $redis->quit;
    exit;
}

sub work {
    my ($id, $fields) = @{ $_[0] };
    print "took $fields->[1]\n";
    exit unless defined <STDIN>;
    $redis->xack('jobs', 'workers', $id);
}

eval { $redis->xgroup('CREATE', 'jobs', 'workers', '0', 'MKSTREAM') };
die $@ if $@ && $@ !~ /BUSYGROUP/;
print "ready\n";
while (1) {
    my @pending = $redis->xpending('jobs', 'workers', 'IDLE', $idle_ms, '-', '+', 10);
    if (my @idle = map { $_->[0] } @pending) {
        work($_) for $redis->xclaim('jobs', 'workers', $name, $idle_ms, @idle);
    }
    my $reply = $redis->xreadgroup('GROUP', 'workers', $name, 'COUNT', 1, 'BLOCK', 100,
        'STREAMS', 'jobs', '>');
    for my $stream (@{ $reply || [] }) {
        work($_) for @{ $stream->[1] };
    }
}
