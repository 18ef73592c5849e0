"""The page and the REST API: a thin layer over `Index`, for people with a browser and for programs.

    settings     settings of a server, with its limits
    connections  how many connections, how slowly heads may come and answers may be read
    callers      who asks: addresses behind named proxies, the host that the browser sees
    guesses      wrong tokens, counted
    intake       bodies while they arrive: bounded in bytes and time
    guard        who may ask at all: Host, Origin, token, size of a request; the headers of every answer
    problems     errors as application/problem+json
    wire         the JSON of requests, and how it becomes a Query and Filters
    answers, shapes  the JSON of answers, and how OpenAPI describes it
    examples     what a first visitor may ask
    uploads      pictures of queries, held in memory for a while
    originals    files of photos, checked by content, in parts
    archives     files of several photos as one ZIP, made while it is sent
    model        one model for many threads: questions first, gathered for a few milliseconds, dropped when nobody waits
    gate         a bounded number of requests at work, clients in turn, with deadlines; the rest may come back
    searches     rankings that are being paged through
    jobs         one ingest at a time, with its progress
    measures     what Prometheus reads
    logs         so many records a minute
    state        everything that the routes share
    bodies       requests in JSON, or with pictures beside it
    asking, photos, taking, exporting, pages    the routes
    local_socket a socket on this machine, by which the commands ask a running server
    local_records  answers as the JSON that goes over it
    app, serve   the application, and the process around it

FastAPI is imported only here, and only when a server is made.
"""
