"""How long it takes, beside what others take: ``python -m tests.benchmarks``.

From the command line to the page of the documentation::

    __main__   what was asked for
    workshop   the temporary directory: tools, hosts, packages, projects
    suites     the projects that the jobs run, and what a whole run of one must leave behind
    jobs       who does what, and how it is told to
    rounds     all of a job in turn, again and again
    measuring  one command: how long, how much processor time, how much memory
    results    what was measured, as JSON
    goals      ratios that are to be reached
    figures    medians and quartiles
    table, picture, page   how it is shown
"""
