#!/usr/bin/env bash
# slurm.sh FOLDER: a SLURM cluster of two made-up nodes on this machine, with four cores and two GPUs each, until
# the script is killed. FOLDER gets its files, and slurm.conf for SLURM_CONF.
#
# All its processes and ports are in namespaces of their own, which are gone when the script ends, however it ends.
# Commands join them with nsenter. A job in the partition `urgent` preempts those in `low`, and those in `grace`, which
# are told a minute before they have to end.
set -eu
if [ "${1:-}" != inside ]; then
  exec unshare --net --pid --uts --mount --fork --kill-child --mount-proc "$0" inside "$@"
fi
folder=$2
umask 022

hostname cluster
ip link set lo up
ip link add network type veth peer name other-end  # SLURM resolves no name where there is no network but loopback
ip address add 10.77.0.1/24 dev network
ip link set network up
mount -t tmpfs none /mnt
echo "10.77.0.1 cluster" > /mnt/hosts
mount --bind /mnt/hosts /etc/hosts

head -c 128 /dev/urandom > "$folder/munge.key"
chmod 400 "$folder/munge.key"
munged --force --foreground --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munge.pid" --log-file="$folder/munge.log" --seed-file="$folder/munge.seed" &
until [ -S "$folder/munge.socket" ]; do sleep 0.05; done

cat > "$folder/slurm.conf" << CONF
ClusterName=small
SlurmctldHost=cluster
SlurmUser=root
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=60
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=node[1-2] NodeHostname=cluster NodeAddr=cluster Port=[17001-17002] CPUs=4 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=grace Nodes=ALL PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
CONF
printf "NodeName=node[1-2] Name=gpu File=/dev/%s\n" null zero > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf
mkdir "$folder/state" "$folder/spool-node1" "$folder/spool-node2"
slurmctld -D > "$folder/slurmctld.log" 2>&1 &
for node in node1 node2; do slurmd -D -N $node > "$folder/slurmd-$node.log" 2>&1 & done
wait
