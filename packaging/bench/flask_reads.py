"""A small REST server in Python, for comparison: two of barback's reads, from the same files, for anybody who asks.

It is not pg-backup-api, and does less: no users, no permissions, no locks looked at, no pages."""
import json
import os

from flask import Flask, abort, jsonify

OPERATIONS = os.environ["OPERATIONS"]
app = Flask(__name__)


def record(name):
    with open(os.path.join(OPERATIONS, name, "operation.json"), encoding="utf-8") as file:
        return json.load(file)


@app.get("/servers/<server>/operations/<name>")
def one(server, name):
    try:
        operation = record(name)
    except OSError:
        abort(404)
    return jsonify(operation) if operation["server"] == server else abort(404)


@app.get("/servers/<server>/operations")
def many(server):
    names = sorted(os.listdir(OPERATIONS), reverse=True)
    return jsonify(operations=[r for r in map(record, names) if r["server"] == server])
