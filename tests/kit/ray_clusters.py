"""Ray clusters on this machine."""

import signal

# Seconds.
PATIENCE = 120


def starts_a_worker(ray):
    """Whether this machine has time and room for one."""
    task = ray.remote(lambda: None).options(num_cpus=1).remote()
    done, _ = ray.wait([task], timeout=PATIENCE)
    return bool(done)


def start(ray, tries=3):
    """Starts it; Ray gives up after half a minute, on a busy machine too.

    Its handler of SIGTERM is not left behind: pools of later tests would
    inherit it.
    """
    handler = signal.getsignal(signal.SIGTERM)
    for last in [False] * (tries - 1) + [True]:
        try:
            ray.init(
                address='local',
                num_cpus=4,
                num_gpus=0,
                include_dashboard=False,
                logging_level='ERROR',
                log_to_driver=False,
            )
            signal.signal(signal.SIGTERM, handler)
            return
        except Exception:
            ray.shutdown()
            if last:
                raise
