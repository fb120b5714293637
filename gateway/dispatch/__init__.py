"""Waking people up: workers by a Celery task that carries an id, couriers by a fan-out message.

Nothing here is the truth. A wake-up that is lost is found by the sweeper (workers) or by the
poll (couriers); one that comes twice finds the ECG claimed or done.
"""
